package xds

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// logSize is how many changes a scope keeps at least; it keeps more when it sees more names.
const logSize = 1024

// scope is what one kind of proxy sees, and the order in which that changed. It sees what its
// bases see too, except under names of its own, and of the bases the first that sees a name counts. The
// Store's lock guards all of it.
type scope struct {
	key     string
	bases   []*scope
	over    map[*scope]struct{} // those of whose bases it is one
	seen    [kinds]map[string]sight
	hosts   map[string]map[string]struct{} // RouteConfiguration → its virtual hosts
	log     []record
	readers map[*reader]struct{} // its own, and those of the scopes over it
}

type sight struct {
	*cell
	since uint64
}

// record says that a name changed, and what was seen of it before ("": nothing).
// So the oldest record after the revision that a stream was told holds the version
// that the proxy has: no stream needs to remember versions, and a change that was
// undone before the stream came round is not sent at all.
type record struct {
	rev uint64
	id
	was string
	own bool // it was seen by the scope itself, not by a base
}

// reader is one stream's place in the logs of its scope and of that scope's bases.
type reader struct {
	scope   *scope
	told    uint64
	owed    map[id]string // names whose records left the log before this reader came: what it was told last
	changed chan struct{} // receives after a change
}

func newScope(key string) *scope {
	sc := &scope{key: key, over: map[*scope]struct{}{}, hosts: map[string]map[string]struct{}{}, readers: map[*reader]struct{}{}}
	for k := range sc.seen {
		sc.seen[k] = map[string]sight{}
	}
	return sc
}

// attach adds a reader that has been told nothing yet.
func (s *Store) attach(key string) *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &reader{scope: s.scope(key), told: s.rev, changed: make(chan struct{}, 1)}
	r.scope.enter(r)
	return r
}

func (s *Store) detach(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.scope.leave(r)
	s.forget(r.scope)
}

// chain yields a scope and its bases.
func (sc *scope) chain(yield func(*scope) bool) {
	if sc == nil || !yield(sc) {
		return
	}
	for _, base := range sc.bases {
		if !yield(base) {
			return
		}
	}
}

func (sc *scope) enter(r *reader) {
	for l := range sc.chain {
		l.readers[r] = struct{}{}
	}
}

func (sc *scope) leave(r *reader) {
	for l := range sc.chain {
		if delete(l.readers, r); len(l.readers) == 0 {
			l.log = nil
		}
	}
}

// version is that of what the reader's scope sees now.
func (r *reader) version(s *Store, n id) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return r.scope.version(n.kind, n.name)
}

// sight is what a scope sees under a name; its cell is nil if it sees nothing.
func (sc *scope) sight(k kind, name string) sight {
	for l := range sc.chain {
		if at := l.seen[k][name]; at.cell != nil {
			return at
		}
	}
	return sight{}
}

func (sc *scope) item(k kind, name string) *item {
	if c := sc.sight(k, name).cell; c != nil {
		return c.now
	}
	return nil
}

func (sc *scope) version(k kind, name string) string {
	if it := sc.item(k, name); it != nil {
		return it.version
	}
	return ""
}

func (sc *scope) names() int {
	n := 0
	for _, m := range sc.seen {
		n += len(m)
	}
	return n
}

// routeOf is the RouteConfiguration of a virtual host: Envoy cuts at the last slash.
func routeOf(host string) string { return host[:max(0, strings.LastIndexByte(host, '/'))] }

func (sc *scope) gain(k kind, name string, c *cell, rev uint64) {
	sc.seen[k][name] = sight{c, rev}
	if k != virtualHosts {
		return
	}
	of := routeOf(name)
	if sc.hosts[of] == nil {
		sc.hosts[of] = map[string]struct{}{}
	}
	sc.hosts[of][name] = struct{}{}
}

func (sc *scope) lose(k kind, name string) {
	delete(sc.seen[k], name)
	if k != virtualHosts {
		return
	}
	of := routeOf(name)
	delete(sc.hosts[of], name)
	if len(sc.hosts[of]) == 0 {
		delete(sc.hosts, of)
	}
}

func (sc *scope) record(r record) {
	if c := sc.seen[r.kind][r.name].cell; c != nil { // its own
		sc.seen[r.kind][r.name] = sight{c, r.rev}
	}
	sc.note(r)
}

func (sc *scope) note(r record) {
	if len(sc.readers) > 0 { // a stream that comes later compares what it holds
		sc.log = append(sc.log, r)
	}
}

// wake tells every stream of the scope that there is something to read.
func (sc *scope) wake() {
	if bound := max(logSize, sc.names()); len(sc.log) > 2*bound {
		sc.truncate(bound)
	}
	for r := range sc.readers {
		select {
		case r.changed <- struct{}{}:
		default: // it has not taken the last notice yet
		}
	}
}

// truncate keeps the newest records. A reader that has not come as far is owed the
// names that are dropped, so the log is bounded, a slow stream costs no more than
// the names of its scope, and it still ends up with an exact comparison.
func (sc *scope) truncate(keep int) {
	dropped := sc.log[:len(sc.log)-keep]
	for r := range sc.readers {
		for _, rec := range after(dropped, r.told) {
			if !r.hidden(sc, rec.id) {
				r.owe(rec)
			}
		}
	}
	sc.log = append([]record(nil), sc.log[len(dropped):]...)
}

func (r *reader) owe(rec record) {
	if _, older := r.owed[rec.id]; older {
		return
	}
	if r.owed == nil {
		r.owed = map[id]string{}
	}
	r.owed[rec.id] = r.had(rec)
}

// had is the version that the reader was told last of a record's name, whichever scope of its chain it saw
// it by: one that did not see the name itself does not know what its readers saw before.
func (r *reader) had(rec record) string {
	if rec.own || len(r.scope.bases) == 0 {
		return rec.was
	}
	for l := range r.scope.chain {
		log := after(l.log, r.told)
		i := slices.IndexFunc(log, func(other record) bool { return other.id == rec.id })
		at := l.seen[rec.kind][rec.name]
		switch {
		case i >= 0 && log[i].own:
			return log[i].was
		case i < 0 && at.cell != nil && at.now != nil:
			return at.now.version
		case i < 0 && at.cell != nil:
			return ""
		}
	}
	return ""
}

// after returns the records of a log that are newer than rev.
func after(log []record, rev uint64) []record {
	return log[sort.Search(len(log), func(i int) bool { return log[i].rev > rev }):]
}

// news are the records that this reader has not been told of, the oldest first.
func (r *reader) news() []record {
	if len(r.scope.bases) == 0 {
		return after(r.scope.log, r.told)
	}
	var all []record
	for l := range r.scope.chain {
		for _, rec := range after(l.log, r.told) {
			if !r.hidden(l, rec.id) {
				rec.was = r.had(rec)
				all = append(all, rec)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b record) int { return cmp.Compare(a.rev, b.rev) })
	return all
}

// hidden says whether what a scope of the chain logged of a name is nothing to this reader: when
// it was last told, a scope further in saw a variant of its own under that name.
func (r *reader) hidden(by *scope, n id) bool {
	for l := range r.scope.chain {
		if l == by {
			break
		}
		log := after(l.log, r.told)
		if i := slices.IndexFunc(log, func(rec record) bool { return rec.id == n }); i >= 0 {
			if log[i].own {
				return true
			}
		} else if l.seen[n.kind][n.name].cell != nil {
			return true
		}
	}
	return false
}
