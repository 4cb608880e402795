package incr

import "cmp"

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
