package xds

import "strings"

// Envoy keeps what it refused as a filter's newest configuration, and refuses by it every listener that has the
// filter, whatever else changes there. So who refuses a filter of one policy is told again of the version that it took
// before. Where that is not known, because it took it from an operator that has ended, or there is none, it goes on
// with what it has until it refuses a listener: then it hears that there is no such filter, and takes the default that
// the listener says. After either it hears again of the listeners that it has refused.

// restorable says whether a resource is such a filter.
func restorable(n id) bool { return n.kind == extensions && strings.HasPrefix(n.name, MadePrefix) }

// keep notes what a proxy took.
func (p *proxy) keep(r *response) {
	if r.kind != extensions {
		return
	}
	for _, name := range r.gone {
		if !r.restores {
			delete(p.kept, name)
		}
	}
	for _, it := range r.add {
		if !restorable(id{r.kind, it.name}) {
			continue
		}
		p.holds(it.name, it)
	}
	if r.restores {
		p.relist()
	}
}

// holds notes what the proxy has under the name of a filter; nil: nothing.
func (p *proxy) holds(name string, it *item) {
	if p.kept == nil {
		p.kept = map[string]*item{}
	}
	p.kept[name] = it
}

// mend notes which filters are to be restored now that the proxy has refused something.
func (p *proxy) mend(n id) {
	switch {
	case restorable(n) && p.kept[n.name] != nil:
		p.broken = append(p.broken, n)
	case restorable(n):
		delete(p.kept, n.name) // that it has none is over
	case n.kind == listeners:
		for other := range p.refused {
			if _, knows := p.kept[other.name]; restorable(other) && !knows {
				p.broken = append(p.broken, other)
			}
		}
	}
}

// restore tells of the filters that were refused and are not another version by now. It goes first: what follows may
// be listeners that have them.
func (s *pass) restore() {
	var gone []string
	for _, n := range s.broken {
		it := s.scope.item(n.kind, n.name)
		switch was := s.kept[n.name]; {
		case it == nil || s.refused[n] != it.version:
		case was != nil:
			s.respond(extensions, []*item{was}, nil)
			s.out[len(s.out)-1].restores = true
		default:
			gone = append(gone, n.name)
			s.holds(n.name, nil)
		}
	}
	s.broken = nil
	if len(gone) > 0 {
		s.respond(extensions, nil, gone)
		s.out[len(s.out)-1].restores = true
	}
}

// relist has the listeners that were refused told again: that may have been by the filters.
func (p *proxy) relist() {
	for n := range p.refused {
		if n.kind == listeners {
			p.accept(n)
			p.subs[listeners].ask(n.name)
		}
	}
}

// owes reports whether an answer of the proxy made something to tell of other kinds than its own.
func (p *proxy) owes() bool {
	return len(p.broken) > 0 || len(p.reopened) > 0 || p.subs[listeners] != nil && len(p.subs[listeners].answer) > 0
}
