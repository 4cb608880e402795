// Package xds serves one shared set of Envoy resources to many proxies by the
// delta protocol, over one ADS stream each.
//
//	Commit → Store (resources, scopes) → scope log → stream wakes → pass → Envoy
//	Envoy's ACK or NACK → Facts
//
// A resource is marshalled once and its bytes are shared by all streams. A Scope
// is the set of names that one kind of proxy may see, and the variant it sees of
// each. A proxy is told of its scope's names only; any other name is answered as
// one that does not exist.
package xds

import (
	"sync"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// Change is what one commit did. Anything it does not mention stays as it was.
type Change struct {
	// Resources are the new ones; nil says that it is gone.
	Resources map[Resource]*discovery.Resource
	// Scopes says, per scope key, which variant of a name is seen from now on;
	// nil says that the name is no longer seen.
	Scopes map[string]map[Name]*Variant
}

// Store holds every resource once, and what each scope sees of them.
type Store struct {
	mu      sync.RWMutex
	basesOf func(key string) []string
	rev     uint64
	cells   map[Resource]*cell
	scopes  map[string]*scope
}

// cell is the place of one resource, whether or not there is one now.
type cell struct {
	at     Resource
	now    *item
	seenBy map[*scope]struct{}
}

// NewStore returns an empty Store. basesOf, if not nil, names the scopes that the scope of a key sees
// the names of besides its own, which win; of those the first that sees a name does. They are all that
// it sees the names of, whatever their own bases are.
func NewStore(basesOf func(key string) []string) *Store {
	if basesOf == nil {
		basesOf = func(string) []string { return nil }
	}
	return &Store{basesOf: basesOf, cells: map[Resource]*cell{}, scopes: map[string]*scope{}}
}

// Commit publishes a change as one consistent world and returns its revision.
// Names of types that are not served are ignored. It costs what it touches: the
// changed resources times the scopes that see them.
func (s *Store) Commit(c Change) uint64 {
	items := make(map[Resource]*item, len(c.Resources))
	for at, r := range c.Resources {
		if k, ok := kindOf(at.Type); ok {
			items[at] = newItem(k, r)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rev++
	before := s.before(items, c.Scopes)
	s.apply(items, c.Scopes)
	s.publish(before)
	return s.rev
}

// place is one name in one scope.
type place struct {
	scope *scope
	id
}

// sighted is a version that a scope saw, and whether that was one of its own.
type sighted struct {
	version string
	own     bool
}

func (sc *scope) sighted(k kind, name string) sighted {
	return sighted{sc.version(k, name), sc.seen[k][name].cell != nil}
}

// before is the version that each scope saw of each name that this change touches.
func (s *Store) before(items map[Resource]*item, scopes map[string]map[Name]*Variant) map[place]sighted {
	was := map[place]sighted{}
	note := func(sc *scope, n Name) {
		if k, ok := kindOf(n.Type); ok {
			was[place{sc, id{k, n.Name}}] = sc.sighted(k, n.Name)
		}
	}
	for at := range items {
		if c := s.cells[at]; c != nil {
			for sc := range c.seenBy {
				note(sc, at.Name)
			}
		}
	}
	for key, names := range scopes {
		sc := s.scope(key)
		for n := range names {
			note(sc, n)
		}
	}
	return was
}

func (s *Store) apply(items map[Resource]*item, scopes map[string]map[Name]*Variant) {
	for at, it := range items {
		c := s.cell(at)
		c.now = it
		s.drop(c)
	}
	for key, names := range scopes {
		sc := s.scope(key)
		for n, v := range names {
			s.see(sc, n, v)
		}
	}
}

// see makes a scope see that variant of a name, or none.
func (s *Store) see(sc *scope, n Name, v *Variant) {
	k, ok := kindOf(n.Type)
	if !ok {
		return
	}
	since := s.rev
	if old := sc.seen[k][n.Name]; old.cell != nil {
		since = old.since // stands if the new variant has the same bytes
		delete(old.seenBy, sc)
		sc.lose(k, n.Name)
		s.drop(old.cell)
	}
	if v == nil {
		return
	}
	c := s.cell(Resource{n, *v})
	c.seenBy[sc] = struct{}{}
	sc.gain(k, n.Name, c, since)
}

// publish logs what each scope now sees differently, and wakes its streams.
func (s *Store) publish(before map[place]sighted) {
	woken := map[*scope]struct{}{}
	for at, was := range before {
		now, rec := at.scope.sighted(at.kind, at.name), record{s.rev, at.id, was.version, was.own}
		switch {
		case now.version != was.version:
			at.scope.record(rec)
			woken[at.scope] = struct{}{}
		case now.own != was.own:
			// From here on it hides what bases log, or no longer does; for who has other bases it differs.
			at.scope.note(rec)
			woken[at.scope] = struct{}{}
		}
	}
	for sc := range woken {
		sc.wake()
	}
	for at := range before {
		s.forget(at.scope)
	}
}

func (s *Store) cell(at Resource) *cell {
	c := s.cells[at]
	if c == nil {
		c = &cell{at: at, seenBy: map[*scope]struct{}{}}
		s.cells[at] = c
	}
	return c
}

// drop forgets a cell that holds nothing and that no scope sees.
func (s *Store) drop(c *cell) {
	if c.now == nil && len(c.seenBy) == 0 {
		delete(s.cells, c.at)
	}
}

func (s *Store) scope(key string) *scope {
	sc := s.scopes[key]
	if sc == nil {
		sc = newScope(key)
		s.scopes[key] = sc
		for _, key := range s.basesOf(key) {
			base := s.scope(key)
			base.over[sc] = struct{}{}
			sc.bases = append(sc.bases, base)
		}
	}
	return sc
}

// forget drops a scope that sees nothing and that nothing depends on.
func (s *Store) forget(sc *scope) {
	if sc.names()+len(sc.readers)+len(sc.over) > 0 {
		return
	}
	delete(s.scopes, sc.key)
	for _, base := range sc.bases {
		delete(base.over, sc)
		s.forget(base)
	}
}

// Revision is that of the last commit.
func (s *Store) Revision() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rev
}

// Sight is what a scope sees under one name.
type Sight struct {
	Version  string
	Revision uint64 // the commit since which it has seen that version
}

// Sight returns what that scope sees under a name; false if it sees nothing.
func (s *Store) Sight(scope string, n Name) (Sight, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k, ok := kindOf(n.Type)
	sc := s.scopes[scope]
	if !ok || sc == nil || sc.item(k, n.Name) == nil {
		return Sight{}, false
	}
	return Sight{sc.version(k, n.Name), sc.sight(k, n.Name).since}, true
}

// within says whether a scope is another one or sees its names.
func (s *Store) within(scope, other string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for l := range s.scopes[scope].chain {
		if l.key == other {
			return true
		}
	}
	return false
}
