package xds

import (
	"slices"
	"strings"
	"unique"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

const wildcard = "*"

// subscription is what one proxy asked of one type.
type subscription struct {
	all     bool                // the whole scope
	names   map[string]struct{} // and these
	has     map[string]string   // versions it holds from an earlier stream, until compared
	answer  []string            // names to answer for even if they did not change
	started bool                // the first answer went out
}

// request takes in one message and reports whether there may be something to send.
func (s *subscription) request(req *discovery.DeltaDiscoveryRequest) bool {
	if s.names == nil {
		s.names = make(map[string]struct{}, len(req.ResourceNamesSubscribe))
	}
	s.answer = slices.Grow(s.answer, len(req.ResourceNamesSubscribe))
	for _, n := range req.ResourceNamesSubscribe {
		s.subscribe(n)
	}
	for _, n := range req.ResourceNamesUnsubscribe {
		s.unsubscribe(n)
	}
	return !s.started || len(s.answer) > 0
}

// subscribe keeps one copy of each name for all streams.
func (s *subscription) subscribe(name string) {
	if name == wildcard {
		s.all = true
		return
	}
	name = unique.Make(name).Value()
	s.names[name] = struct{}{}
	s.ask(name)
}

// unsubscribe drops a name. A proxy that still subscribes to everything does not know
// whether it keeps the resource, so it is told.
func (s *subscription) unsubscribe(name string) {
	if name == wildcard {
		s.all = false
		return
	}
	if _, named := s.names[name]; named && s.all {
		s.ask(name)
	}
	delete(s.names, name)
	delete(s.has, name)
}

func (s *subscription) ask(name string) { s.answer = append(s.answer, name) }

func (s *subscription) named(name string) bool {
	_, ok := s.names[name]
	return ok
}

// covers reports whether the proxy wants to hear of that name.
func (p *proxy) covers(k kind, name string) bool {
	s := p.subs[k]
	return s.named(name) || s.all && !onDemand(k, name) && (k != virtualHosts || p.opened(routeOf(name)))
}

// OnDemandPrefix begins the names of clusters that a proxy hears of only if it asks for them by
// name, and that are looked up when one does.
const OnDemandPrefix = "pod|"

// MadePrefix begins the names of filters that may take a while to be made.
const MadePrefix = "policy/"

func onDemand(k kind, name string) bool {
	return k == clusters && strings.HasPrefix(name, OnDemandPrefix)
}

// opened reports whether a virtual host of that RouteConfiguration would be kept.
// Envoy subscribes to VHDS once, by wildcard, and drops a virtual host whose
// RouteConfiguration it does not have yet; so those wait for it, see proxy.reopen.
func (p *proxy) opened(route string) bool {
	if p.read.scope.item(routes, route) == nil {
		return true
	}
	s := p.subs[routes]
	return s != nil && (s.all || s.named(route))
}
