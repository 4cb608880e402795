package incr

import (
	"cmp"
	"slices"
)

// Live is a set of keys that says when one comes into being or goes. A function given to watch
// hears of the keys that are there already, then of each change.
type Live[K cmp.Ordered] interface {
	watch(func(k K, live bool))
	graph() *Graph
}

// Table holds the inputs of one kind.
type Table[K cmp.Ordered, V any] struct {
	g     *Graph
	equal func(a, b V) bool
	cells map[K]*input[K, V]
	onset []func(k K, old, new V, had, has bool)
}

type input[K cmp.Ordered, V any] struct {
	node
	table   *Table[K, V]
	key     K
	value   V
	present bool
}

// NewTable makes an empty table. Setting a value equal to the one held changes nothing.
func NewTable[K cmp.Ordered, V any](g *Graph, equal func(a, b V) bool) *Table[K, V] {
	return &Table[K, V]{g: g, equal: equal, cells: map[K]*input[K, V]{}}
}

func (t *Table[K, V]) cell(k K) *input[K, V] {
	c := t.cells[k]
	if c == nil {
		c = &input[K, V]{table: t, key: k}
		c.node.cell = c
		t.cells[k] = c
	}
	return c
}

// Get reads k; that it is absent is a read too.
func (t *Table[K, V]) Get(q *Query, k K) (V, bool) {
	c := t.cell(k)
	q.saw(t.g, &c.node)
	return c.value, c.present
}

// Set puts v at k.
func (t *Table[K, V]) Set(k K, v V) { t.put(k, v, true) }

// Delete removes k.
func (t *Table[K, V]) Delete(k K) { var zero V; t.put(k, zero, false) }

// Each calls f with every key and value, in no order, and remembers nothing: it is for the
// owner of the graph, not for functions.
func (t *Table[K, V]) Each(f func(K, V)) {
	for k, c := range t.cells {
		if c.present {
			f(k, c.value)
		}
	}
}

func (t *Table[K, V]) put(k K, v V, present bool) {
	c := t.cell(k)
	if c.present == present && (!present || t.equal(c.value, v)) {
		t.g.mayDrop(&c.node)
		return
	}
	old, had := c.value, c.present
	c.value, c.present, c.changed = v, present, t.g.tick()
	t.g.touch(&c.node)
	t.g.mayDrop(&c.node)
	for _, f := range t.onset {
		f(k, old, v, had, present)
	}
}

func (t *Table[K, V]) graph() *Graph { return t.g }

func (t *Table[K, V]) watch(f func(k K, live bool)) {
	for k, c := range t.cells {
		if c.present {
			f(k, true)
		}
	}
	t.onset = append(t.onset, func(k K, _, _ V, had, has bool) {
		if had != has {
			f(k, has)
		}
	})
}

func (c *input[K, V]) refresh()      {}
func (c *input[K, V]) report()       {}
func (c *input[K, V]) label() string { return "an input" }

// drop forgets that an absent key was once asked for.
func (c *input[K, V]) drop() {
	if !c.present && c.table.cells[c.key] == c {
		delete(c.table.cells, c.key)
	}
}

// groups are keys by group, each group in order.
type groups[G, K cmp.Ordered] struct{ *Table[G, []K] }

func newGroups[G, K cmp.Ordered](g *Graph) groups[G, K] {
	return groups[G, K]{NewTable[G](g, slices.Equal[[]K])}
}

// Get reads the keys of group g, in order. They are not to be altered.
func (gs groups[G, K]) Get(q *Query, g G) []K {
	ks, _ := gs.Table.Get(q, g)
	return ks
}

func (gs groups[G, K]) add(g G, k K) {
	ks := gs.held(g)
	if i, ok := slices.BinarySearch(ks, k); !ok {
		gs.Set(g, slices.Insert(slices.Clone(ks), i, k))
	}
}

func (gs groups[G, K]) remove(g G, k K) {
	ks := gs.held(g)
	i, ok := slices.BinarySearch(ks, k)
	switch {
	case !ok:
	case len(ks) == 1:
		gs.Delete(g)
	default:
		gs.Set(g, slices.Delete(slices.Clone(ks), i, i+1))
	}
}

func (gs groups[G, K]) held(g G) []K {
	if c := gs.cells[g]; c != nil {
		return c.value
	}
	return nil
}

// Index groups a Table's keys by whatever a function of key and value names.
type Index[G, K cmp.Ordered] struct{ groups[G, K] }

// NewIndex makes an Index of t, which must still be empty.
func NewIndex[G, K cmp.Ordered, V any](t *Table[K, V], of func(K, V) []G) *Index[G, K] {
	ix := &Index[G, K]{newGroups[G, K](t.g)}
	t.onset = append(t.onset, func(k K, old, new V, had, has bool) {
		var before, after []G
		if had {
			before = of(k, old)
		}
		if has {
			after = of(k, new)
		}
		ix.move(k, before, after)
	})
	return ix
}

// move takes k out of the groups that it left and puts it into those that it joined.
func (gs groups[G, K]) move(k K, before, after []G) {
	for _, g := range before {
		if !slices.Contains(after, g) {
			gs.remove(g, k)
		}
	}
	for _, g := range after {
		if !slices.Contains(before, g) {
			gs.add(g, k)
		}
	}
}
