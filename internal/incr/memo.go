package incr

import (
	"cmp"
	"fmt"
	"slices"
)

// Memo is a pure function whose results are kept as long as somebody reads them.
type Memo[K cmp.Ordered, V any] struct {
	g     *Graph
	name  string
	equal func(a, b V) bool
	fn    func(q *Query, k K) V
	cells map[K]*result[K, V]
	kept  *layer
	emit  func(k K, v V, has bool)
}

type result[K cmp.Ordered, V any] struct {
	node
	memo     *Memo[K, V]
	key      K
	value    V
	computed bool
	reported uint64 // when the value last reported was new; 0: none is
}

// NewMemo remembers fn. name stands in the panic that a cycle causes. Results for which equal
// holds count as unchanged.
func NewMemo[K cmp.Ordered, V any](g *Graph, name string, equal func(a, b V) bool, fn func(*Query, K) V) *Memo[K, V] {
	return &Memo[K, V]{g: g, name: name, equal: equal, fn: fn, cells: map[K]*result[K, V]{}}
}

// Get reads fn(k). It panics when fn(k), directly or through others, reads itself.
func (m *Memo[K, V]) Get(q *Query, k K) V {
	c := m.cell(k)
	m.g.settle(&c.node)
	q.saw(m.g, &c.node)
	return c.value
}

func (m *Memo[K, V]) cell(k K) *result[K, V] {
	c := m.cells[k]
	if c == nil {
		c = &result[K, V]{memo: m, key: k}
		c.node.cell, c.layer = c, m.kept
		m.cells[k] = c
		m.g.run(&c.node)
	}
	return c
}

func (c *result[K, V]) refresh() {
	v := c.memo.fn(&Query{&c.node}, c.key)
	if !c.computed || !c.memo.equal(c.value, v) {
		c.value, c.computed, c.changed = v, true, c.memo.g.tick()
	}
}

// report tells the Keep of this memo what became of c since it was last told.
func (c *result[K, V]) report() {
	switch {
	case c.holds > 0 && c.reported != c.changed:
		c.reported = c.changed
		c.memo.emit(c.key, c.value, true)
	case c.holds == 0 && c.reported != 0:
		c.reported = 0
		var zero V
		c.memo.emit(c.key, zero, false)
	}
}

func (c *result[K, V]) drop() {
	if c.memo.cells[c.key] == c {
		delete(c.memo.cells, c.key)
	}
}

func (c *result[K, V]) label() string { return fmt.Sprintf("%s(%v)", c.memo.name, c.key) }

// Keep holds m(k) current for every live key of the sources and reports each result: first when
// its key is born, again whenever it differs, and once with has=false when the last source let
// the key go. A Memo has one Keep, made before it is read; Keeps are brought up to date in the
// order in which they were made.
func Keep[K cmp.Ordered, V any](m *Memo[K, V], emit func(k K, v V, has bool), sources ...Live[K]) {
	m.kept, m.emit = &layer{}, emit
	m.g.layers = append(m.g.layers, m.kept)
	for _, s := range sources {
		s.watch(m.hold)
	}
}

func (m *Memo[K, V]) hold(k K, live bool) {
	c := m.cells[k]
	if c == nil {
		if !live {
			return
		}
		c = &result[K, V]{memo: m, key: k}
		c.node.cell, c.layer, c.stale = c, m.kept, true
		m.cells[k] = c
	}
	if live {
		c.holds++
	} else {
		c.holds--
	}
	c.queue()
}

// View groups the keys of a source by what a function of each says, like an Index, except that
// the function may read anything through its Query.
type View[G, K cmp.Ordered] struct{ *groups[G, K] }

// NewView makes a View of a source's keys. Of two Views the later made may read the earlier.
func NewView[G, K cmp.Ordered](source Live[K], name string, of func(q *Query, k K) []G) *View[G, K] {
	g := source.graph()
	v := &View[G, K]{newGroups[G, K](g)}
	held := map[K][]G{}
	m := NewMemo(g, name, slices.Equal[[]G], of)
	Keep(m, func(k K, now []G, has bool) {
		v.move(k, held[k], now)
		if has {
			held[k] = now
		} else {
			delete(held, k)
		}
	}, source)
	return v
}
