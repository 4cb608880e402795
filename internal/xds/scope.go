package xds

import (
	"sort"
	"strings"
)

// logSize is how many changes a scope keeps at least; it keeps more when it sees more names.
const logSize = 1024

// scope is what one kind of proxy sees, and the order in which that changed.
// The Store's lock guards all of it.
type scope struct {
	key     string
	seen    [kinds]map[string]sight
	hosts   map[string]map[string]struct{} // RouteConfiguration → its virtual hosts
	log     []record
	readers map[*reader]struct{}
	changed chan struct{} // closed at the next change
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
}

// reader is one stream's place in its scope's log.
type reader struct {
	scope *scope
	told  uint64
	owed  map[id]string // names whose records left the log before this reader came: what it was told last
}

func newScope(key string) *scope {
	sc := &scope{key: key, hosts: map[string]map[string]struct{}{}, readers: map[*reader]struct{}{}, changed: make(chan struct{})}
	for k := range sc.seen {
		sc.seen[k] = map[string]sight{}
	}
	return sc
}

// attach adds a reader that has been told nothing yet.
func (s *Store) attach(key string) *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &reader{scope: s.scope(key), told: s.rev}
	r.scope.readers[r] = struct{}{}
	return r
}

func (s *Store) detach(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(r.scope.readers, r)
	if len(r.scope.readers) == 0 {
		r.scope.log = nil
	}
	s.forget(r.scope)
}

// version is that of what the reader's scope sees now.
func (r *reader) version(s *Store, n id) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return r.scope.version(n.kind, n.name)
}

func (sc *scope) item(k kind, name string) *item {
	if c := sc.seen[k][name].cell; c != nil {
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
	if c := sc.seen[r.kind][r.name].cell; c != nil {
		sc.seen[r.kind][r.name] = sight{c, r.rev}
	}
	if len(sc.readers) > 0 { // a stream that comes later compares what it holds
		sc.log = append(sc.log, r)
	}
}

// wake tells every stream of the scope that there is something to read.
func (sc *scope) wake() {
	if bound := max(logSize, sc.names()); len(sc.log) > 2*bound {
		sc.truncate(bound)
	}
	close(sc.changed)
	sc.changed = make(chan struct{})
}

// truncate keeps the newest records. A reader that has not come as far is owed the
// names that are dropped, so the log is bounded, a slow stream costs no more than
// the names of its scope, and it still ends up with an exact comparison.
func (sc *scope) truncate(keep int) {
	dropped := sc.log[:len(sc.log)-keep]
	for r := range sc.readers {
		for _, rec := range after(dropped, r.told) {
			r.owe(rec)
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
	r.owed[rec.id] = rec.was
}

// after returns the records of a log that are newer than rev.
func after(log []record, rev uint64) []record {
	return log[sort.Search(len(log), func(i int) bool { return log[i].rev > rev }):]
}
