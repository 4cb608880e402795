// Package incr recomputes only what a change reaches.
//
//	Table ── Index          inputs, and their keys by group
//	  └───── Memo           a pure function of a key, remembered
//	           └─── View    the keys of a source by what a function says of each
//	                Keep    results that are kept current and reported
//
// Whatever a Memo reads through its Query is remembered, so that a later change to
// any of those reads, and to nothing else, runs the function again. A result equal
// to the one before stops the change there. What nobody reads any more is dropped.
//
// One goroutine owns a Graph.
package incr

import "fmt"

// Graph is the whole computation: its revision, and what the last change reached.
type Graph struct {
	revision uint64 // commits so far
	clock    uint64 // different values so far: finer than revision, for a View moves within a commit
	layers   []*layer
	idle     []*node // lost their last reader in this commit
}

// layer is the kept results of one Keep, in the order in which Keeps were made: a later
// one may read what an earlier one groups, so the earlier is brought up to date first.
type layer struct{ reached []*node }

// node is one input or one result.
type node struct {
	changed uint64 // when its value last became different
	checked uint64 // when it was last known to be right; 0: never computed
	stale   bool   // something it read may have changed
	running bool   // its function is being run: to read it now is a cycle
	queued  bool   // waits in its layer
	holds   int    // how many live keys ask for it
	layer   *layer // not nil: a kept result
	reads   []*node
	readers map[*node]struct{}
	cell    interface {
		refresh()
		report()
		drop()
		label() string
	}
}

// Query is the right to read on behalf of one result. A nil Query reads from outside.
type Query struct{ reader *node }

func (q *Query) saw(g *Graph, n *node) {
	if q == nil || q.reader == nil {
		g.mayDrop(n)
		return
	}
	if n.readers == nil {
		n.readers = map[*node]struct{}{}
	}
	if _, ok := n.readers[q.reader]; !ok {
		n.readers[q.reader] = struct{}{}
		q.reader.reads = append(q.reader.reads, n)
	}
}

// touch marks every result that may depend on n.
func (g *Graph) touch(n *node) {
	for r := range n.readers {
		if r.stale {
			continue
		}
		r.stale = true
		r.queue()
		g.touch(r)
	}
}

// queue asks the node's layer to look at it again.
func (n *node) queue() {
	if n.layer != nil && !n.queued {
		n.queued = true
		n.layer.reached = append(n.layer.reached, n)
	}
}

// settle brings n up to date, running its function only if a read of it changed.
func (g *Graph) settle(n *node) {
	if n.running {
		panic(fmt.Sprintf("incr: %s reads itself", n.cell.label()))
	}
	if !n.stale {
		return
	}
	n.stale = false
	n.running = true
	changed := n.checked == 0 || g.readsChanged(n)
	n.running = false
	if changed {
		g.run(n)
	}
	n.checked = g.clock
}

// readsChanged settles the reads of n in the order in which they were made and stops at the
// first that differs: the later ones may no longer be read at all.
func (g *Graph) readsChanged(n *node) bool {
	for _, r := range n.reads {
		g.settle(r)
		if r.changed > n.checked {
			return true
		}
	}
	return false
}

// run computes n anew.
func (g *Graph) run(n *node) {
	old := n.reads
	g.forget(n)
	n.running = true
	n.cell.refresh()
	n.running = false
	n.checked = g.clock
	for _, r := range old {
		g.mayDrop(r)
	}
}

func (g *Graph) forget(n *node) {
	for _, r := range n.reads {
		delete(r.readers, n)
	}
	n.reads = nil
}

// tick is the time of a new value.
func (g *Graph) tick() uint64 {
	g.clock++
	return g.clock
}

// mayDrop looks at n again when the commit ends: it is dropped if nothing reads or holds it then.
func (g *Graph) mayDrop(n *node) {
	if len(n.readers) == 0 && n.holds == 0 {
		g.idle = append(g.idle, n)
	}
}

// Commit applies one batch of changes, brings every kept result up to date and reports
// those that differ. It returns the number of the commit.
func (g *Graph) Commit(change func()) uint64 {
	g.revision++
	change()
	for n := g.next(); n != nil; n = g.next() {
		if n.holds > 0 {
			g.settle(n)
		}
		n.cell.report()
		g.mayDrop(n)
	}
	g.sweep()
	return g.revision
}

// next takes the next node to look at from the earliest layer that has one.
func (g *Graph) next() *node {
	for _, l := range g.layers {
		if len(l.reached) > 0 {
			n := l.reached[0]
			l.reached = l.reached[1:]
			n.queued = false
			return n
		}
	}
	return nil
}

// sweep drops what lost its last reader, and then what only that had read.
func (g *Graph) sweep() {
	for len(g.idle) > 0 {
		n := g.idle[len(g.idle)-1]
		g.idle = g.idle[:len(g.idle)-1]
		if len(n.readers) > 0 || n.holds > 0 || n.queued {
			continue
		}
		reads := n.reads
		g.forget(n)
		n.cell.drop()
		for _, r := range reads {
			g.mayDrop(r)
		}
	}
}
