package incr

import (
	"cmp"
	"slices"
)

// groups are keys by group. To move a key costs the same in a large group as in a small one: the
// order is made when somebody reads.
type groups[G, K cmp.Ordered] struct {
	g        *Graph
	cells    map[G]*members[G, K]
	watchers []func(k G, live bool)
}

// members are the keys of one group.
type members[G, K cmp.Ordered] struct {
	node
	of    *groups[G, K]
	group G
	count int
	keys  []K // in order, but for what moved since
	moves []move[K]
}

type move[K cmp.Ordered] struct {
	key  K
	into bool
}

func newGroups[G, K cmp.Ordered](g *Graph) *groups[G, K] {
	return &groups[G, K]{g: g, cells: map[G]*members[G, K]{}}
}

func (gs *groups[G, K]) cell(g G) *members[G, K] {
	c := gs.cells[g]
	if c == nil {
		c = &members[G, K]{of: gs, group: g}
		c.node.cell = c
		gs.cells[g] = c
	}
	return c
}

// Get reads the keys of group g, in order. They are not to be altered.
func (gs *groups[G, K]) Get(q *Query, g G) []K {
	c := gs.cell(g)
	q.saw(gs.g, &c.node)
	c.arrange()
	return c.keys
}

// move takes k out of the groups that it left and puts it into those that it joined.
func (gs *groups[G, K]) move(k K, before, after []G) {
	for i, g := range before {
		if !slices.Contains(after, g) && !slices.Contains(before[:i], g) {
			gs.put(g, move[K]{k, false})
		}
	}
	for i, g := range after {
		if !slices.Contains(before, g) && !slices.Contains(after[:i], g) {
			gs.put(g, move[K]{k, true})
		}
	}
}

func (gs *groups[G, K]) put(g G, m move[K]) {
	c := gs.cell(g)
	had := c.count > 0
	if c.count--; m.into {
		c.count += 2
	}
	if c.moves = append(c.moves, m); len(c.moves) > len(c.keys)+minMoves {
		c.arrange() // nobody reads it
	}
	c.changed = gs.g.tick()
	gs.g.touch(&c.node)
	gs.g.mayDrop(&c.node)
	if has := c.count > 0; had != has {
		for _, f := range gs.watchers {
			f(g, has)
		}
	}
}

// minMoves is how many moves wait at least for a reader.
const minMoves = 16

// arrange brings the keys in order. What was read before stays as it is.
func (c *members[G, K]) arrange() {
	if len(c.moves) == 0 {
		return
	}
	slices.SortStableFunc(c.moves, func(a, b move[K]) int { return cmp.Compare(a.key, b.key) })
	keys, old := make([]K, 0, c.count), c.keys
	for i, m := range c.moves {
		if i+1 < len(c.moves) && c.moves[i+1].key == m.key {
			continue // it moved again
		}
		at, there := slices.BinarySearch(old, m.key)
		keys, old = append(keys, old[:at]...), old[at:]
		if there {
			old = old[1:]
		}
		if m.into {
			keys = append(keys, m.key)
		}
	}
	c.keys, c.moves = append(keys, old...), nil
}

func (gs *groups[G, K]) graph() *Graph { return gs.g }

func (gs *groups[G, K]) watch(f func(g G, live bool)) {
	for g, c := range gs.cells {
		if c.count > 0 {
			f(g, true)
		}
	}
	gs.watchers = append(gs.watchers, f)
}

func (c *members[G, K]) refresh()      {}
func (c *members[G, K]) report()       {}
func (c *members[G, K]) label() string { return "a group" }

// drop forgets that an empty group was once asked for.
func (c *members[G, K]) drop() {
	if c.count == 0 && c.of.cells[c.group] == c {
		delete(c.of.cells, c.group)
	}
}

// Index groups a Table's keys by whatever a function of key and value names.
type Index[G, K cmp.Ordered] struct{ *groups[G, K] }

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
