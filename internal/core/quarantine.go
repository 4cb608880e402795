package core

import (
	"maps"
	"slices"

	"github.com/weft-mesh/weft/internal/xds"
)

// history is how many versions of a resource are remembered: those that proxies may still
// answer for.
const history = 8

// quarantine finds out which route a proxy refuses when it refuses a virtual host, or the routes of
// a Service's port, that several share. Envoy names a resource at most, never an object: those routes that the last accepted
// version did not have are suspected and kept from the proxies, then let back in half at a time.
// A route that is refused alone stays out until its next generation.
type quarantine struct {
	hosts   map[xds.Resource]*suspicion
	pending map[string]map[xds.Resource]struct{} // scope → those whose newest version is not accepted yet
	guilty  map[string]int64                     // route → the generation that was refused alone
	hold    func(route string, generation int64, why refusal)
	release func(route string)
}

// suspicion is what is known of one virtual host, or of one variant of a Service port's routes.
type suspicion struct {
	scope    string
	versions []version // newest last
	good     group     // what an accepted version had
	held     []group   // to be let back in, one group per acceptance
	why      refusal
}

type version struct {
	id       string
	from     map[string]int64
	accepted bool
	refused  bool
}

// group is routes with the generation under suspicion.
type group map[string]int64

// refusal is one proxy's answer.
type refusal struct{ proxy, detail string }

func newQuarantine(hold func(string, int64, refusal), release func(string)) *quarantine {
	return &quarantine{hosts: map[xds.Resource]*suspicion{}, pending: map[string]map[xds.Resource]struct{}{}, guilty: map[string]int64{}, hold: hold, release: release}
}

// rendered notes what a resource is now made of.
func (u *quarantine) rendered(at xds.Resource, r rendered, has bool) {
	s := u.hosts[at]
	if s != nil {
		delete(u.pending[s.scope], at)
	}
	if !has {
		u.gone(at)
		return
	}
	if s == nil && len(r.from) == 0 {
		return // nobody's
	}
	if s == nil {
		s = &suspicion{good: group{}}
		u.hosts[at] = s
	}
	s.scope = r.scope
	now := version{id: r.version()}
	if was := s.find(now.id); was != nil {
		now = *was
	}
	now.from = r.from
	s.versions = slices.DeleteFunc(s.versions, func(v version) bool { return v.id == now.id })
	s.versions = append(s.versions, now)
	s.versions = s.versions[max(0, len(s.versions)-history):]
	switch { // what was answered before is not sent again, so no proxy will answer
	case now.accepted:
		u.acknowledged(at, now.id)
		return
	case now.refused:
		u.blame(s, now)
		return
	}
	if u.pending[s.scope] == nil {
		u.pending[s.scope] = map[xds.Resource]struct{}{}
	}
	u.pending[s.scope][at] = struct{}{}
}

// gone forgets a resource. One whose routes are all held back goes for that reason, and comes again
// with those that are let back in.
func (u *quarantine) gone(at xds.Resource) {
	if s := u.hosts[at]; s != nil && len(s.held) > 0 {
		u.next(s)
		return
	}
	delete(u.hosts, at)
}

// accepted looks through what a scope's proxies have not accepted yet. applied tells which version
// under a name they see, and whether all have applied it.
func (u *quarantine) accepted(scope string, applied func(xds.Name) (version string, ok bool)) {
	for at := range u.pending[scope] {
		if id, ok := applied(at.Name); ok {
			delete(u.pending[scope], at)
			u.acknowledged(at, id)
		}
	}
}

func (s *suspicion) find(id string) *version {
	if i := slices.IndexFunc(s.versions, func(v version) bool { return v.id == id }); i >= 0 {
		return &s.versions[i]
	}
	return nil
}

// acknowledged lets the next group of suspects back in once the newest version is accepted.
func (u *quarantine) acknowledged(at xds.Resource, id string) {
	s := u.hosts[at]
	if s == nil {
		return
	}
	v := s.find(id)
	if v == nil || v.refused {
		return
	}
	v.accepted = true
	if len(s.held) == 0 {
		s.good = maps.Clone(v.from)
	} else {
		maps.Copy(s.good, v.from)
	}
	if id != s.versions[len(s.versions)-1].id || len(s.held) == 0 {
		return
	}
	u.next(s)
}

// next lets a group back in.
func (u *quarantine) next(s *suspicion) {
	next := s.held[0]
	s.held = s.held[1:]
	for route, generation := range next {
		if u.guilty[route] != generation {
			u.release(route)
		}
	}
}

// refused holds back the routes that may be to blame.
func (u *quarantine) refused(at xds.Resource, id string, why refusal) {
	s := u.hosts[at]
	if s == nil {
		return
	}
	v := s.find(id)
	if v == nil || v.refused {
		return
	}
	v.refused, v.accepted, s.why = true, false, why
	if id == s.versions[len(s.versions)-1].id { // a newer one gets an answer of its own
		u.blame(s, *v)
	}
}

// blame holds back those who may be the reason why a version was refused.
func (u *quarantine) blame(s *suspicion, bad version) {
	suspects := s.suspects(bad)
	for route, generation := range suspects {
		u.hold(route, generation, s.why)
	}
	if len(suspects) == 1 {
		maps.Copy(u.guilty, suspects)
		return
	}
	s.held = append(halves(suspects), s.held...)
}

// suspects are the routes of a refused version that no accepted one had. Where there is none, what
// was accepted before is refused in this company, or by a proxy that is new: all are suspected.
func (s *suspicion) suspects(bad version) group {
	out := group(maps.Clone(bad.from))
	maps.DeleteFunc(out, func(route string, generation int64) bool { return s.good[route] == generation })
	if len(out) > 0 {
		return out
	}
	s.good = group{}
	return maps.Clone(bad.from)
}

// halves splits suspects in two, in the order of their names.
func halves(g group) []group {
	names := slices.Sorted(maps.Keys(g))
	if len(names) == 0 {
		return nil
	}
	first, second := group{}, group{}
	for i, name := range names {
		if i < len(names)/2 {
			first[name] = g[name]
		} else {
			second[name] = g[name]
		}
	}
	return []group{first, second}
}
