package xds

import (
	"slices"
	"strings"
)

// draft is what a pass tells of one kind.
type draft struct {
	kind    kind
	add     []*item
	alone   []*item // each in a response of its own: one of them was refused with others
	missing []string
	empty   bool                // send it even if it says nothing: the proxy waits for a first answer
	told    map[string]struct{} // names spoken of; nil while none can come twice
}

// first reports whether the draft does not speak of that name yet: Envoy refuses a
// response that does so twice.
func (d *draft) first(name string) bool {
	if d.told == nil {
		return true
	}
	_, ok := d.told[name]
	d.told[name] = struct{}{}
	return !ok
}

// everything answers a first request for the whole scope, against what the proxy already has.
func (s *pass) everything(d *draft) {
	sub := s.subs[d.kind]
	if d.kind == virtualHosts {
		s.unhave(sub.has)
		s.reopened = s.openedRoutes()
	}
	d.empty, d.told = true, make(map[string]struct{}, len(s.scope.seen[d.kind]))
	for l := range s.scope.chain {
		for name := range l.seen[d.kind] {
			s.say(d, change{name: name, was: sub.has[name]}, false)
		}
	}
	for name, version := range sub.has {
		if s.scope.item(d.kind, name) == nil {
			s.say(d, change{name: name, was: version}, false)
		}
	}
	if d.kind == clusters && len(sub.has) > 0 {
		s.greeting = s.nonce + 1
	}
}

// unhave corrects what a proxy says it has of virtual hosts: Envoy still counts those of a
// RouteConfiguration that it dropped and now gets anew.
func (s *pass) unhave(has map[string]string) {
	for name := range has {
		if slices.Contains(s.reopened, routeOf(name)) {
			delete(has, name)
		}
	}
}

// answers says what was asked for by name, and what Envoy waits for without asking:
// the endpoints of a cluster that was sent changed, and the virtual hosts of a new
// RouteConfiguration.
func (s *pass) answers(d *draft) {
	sub := s.subs[d.kind]
	for _, name := range sub.answer {
		_, warm := s.warm[name]
		has := sub.has[name]
		s.say(d, change{name: name, was: has}, has == "" || warm && d.kind == endpoints)
	}
	switch d.kind {
	case endpoints:
		s.warmed(d)
	case virtualHosts:
		for _, route := range s.reopened {
			s.hosts(d, route)
		}
		s.reopened = nil
	}
}

func (s *pass) warmed(d *draft) {
	for name := range s.warm {
		if s.covers(endpoints, name) {
			s.say(d, change{name: name}, true)
		}
	}
	s.warm = nil
}

// openedRoutes are the RouteConfigurations of the scope that the proxy subscribes to.
func (s *pass) openedRoutes() []string {
	var opened []string
	for l := range s.scope.chain {
		for name := range l.seen[routes] {
			if s.scope.item(routes, name) != nil && s.opened(name) && !slices.Contains(opened, name) {
				opened = append(opened, name)
			}
		}
	}
	return opened
}

// hosts says all virtual hosts of a RouteConfiguration, and that those on their way to the
// proxy are gone which are. Envoy waits for an answer; where there are none, it gets one by
// the removal of a virtual host that does not exist.
func (s *pass) hosts(d *draft, route string) {
	found := false
	for l := range s.scope.chain {
		for name := range l.hosts[route] {
			found = found || s.scope.item(virtualHosts, name) != nil
			s.say(d, change{name: name}, true)
		}
	}
	for name := range s.inFlight(virtualHosts) {
		if routeOf(name) == route && s.scope.item(virtualHosts, name) == nil {
			s.say(d, change{name: name}, true)
		}
	}
	if !found && d.first(route+"/") {
		d.missing = append(d.missing, route+"/")
	}
}

// say adds one name to the draft. Asked says that the proxy waits for an answer, even if
// nothing changed or there is no such resource.
func (s *pass) say(d *draft, c change, asked bool) {
	if !s.covers(d.kind, c.name) || !d.first(c.name) {
		return
	}
	it := s.scope.item(d.kind, c.name)
	switch {
	case it == nil && s.unmade(d.kind, c.name):
	case it == nil && asked && c.was == "" && s.awaited(d.kind, c.name):
	case it == nil && asked:
		s.accept(id{d.kind, c.name})
		d.missing = append(d.missing, c.name)
	case it == nil && c.was != "":
		s.gone[d.kind] = append(s.gone[d.kind], c)
	case it == nil, !asked && it.version == c.was, s.refused[id{d.kind, c.name}] == it.version:
	default:
		s.add(d, it, c.was)
	}
}

// unmade says whether a filter that the scope sees is still being made. The proxy keeps what it has of it, which may
// be from before this server began.
func (s *pass) unmade(k kind, name string) bool {
	return k == extensions && strings.HasPrefix(name, MadePrefix) && s.scope.sight(k, name).cell != nil
}

// awaited says whether nobody is told that there is no such resource: it is looked up, or issued, and
// sent when it is there. Told that there is no such secret, Envoy would begin to serve without it. A
// proxy that may have one, because it is about to get or has refused another version, has to hear that
// it is gone.
func (s *pass) awaited(k kind, name string) bool {
	if k != secrets {
		return onDemand(k, name)
	}
	_, refused := s.alone[id{k, name}]
	return !refused && !slices.ContainsFunc(s.flight, func(r *response) bool {
		return r.kind == k && slices.ContainsFunc(r.add, func(it *item) bool { return it.name == name })
	})
}

func (s *pass) add(d *draft, it *item, was string) {
	if _, alone := s.alone[id{d.kind, it.name}]; alone {
		d.alone = append(d.alone, it)
	} else {
		d.add = append(d.add, it)
	}
	if d.kind == clusters {
		s.fresh = s.fresh || was == ""
		s.warms(it.endpoints)
	}
	if d.kind == routes && was == "" {
		s.reopen(it.name)
	}
}

// queue turns a draft into responses.
func (s *pass) queue(d *draft) {
	if len(d.add)+len(d.missing) > 0 || d.empty && len(d.alone) == 0 {
		s.respond(d.kind, d.add, d.missing)
	}
	for _, it := range d.alone {
		s.respond(d.kind, []*item{it}, nil)
	}
}
