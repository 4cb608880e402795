package incr

import "cmp"

// Named is a source of another's keys under names of their own. name must give each key another.
func Named[K cmp.Ordered](source Live[K], name func(K) K) Live[K] { return named[K]{source, name} }

type named[K cmp.Ordered] struct {
	source Live[K]
	name   func(K) K
}

func (n named[K]) graph() *Graph { return n.source.graph() }

func (n named[K]) watch(f func(k K, live bool)) {
	n.source.watch(func(k K, live bool) { f(n.name(k), live) })
}

// Union is a source of the keys of several, of one Graph, that have no key in common.
func Union[K cmp.Ordered](sources ...Live[K]) Live[K] { return union[K](sources) }

type union[K cmp.Ordered] []Live[K]

func (u union[K]) graph() *Graph { return u[0].graph() }

func (u union[K]) watch(f func(k K, live bool)) {
	for _, s := range u {
		s.watch(f)
	}
}
