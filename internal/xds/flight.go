package xds

import (
	"slices"
	"strconv"
)

// window is how many responses may be unanswered before a proxy is told more: one that
// is slow is told less often, and each time of everything since.
const window = 32

func isClusters(k kind) bool { return k == clusters }

func hasEndpointsOrSecret(k kind) bool { return k == endpoints || k == secrets }

// flying reports whether a response of such a kind, up to that nonce, is unanswered.
func (p *proxy) flying(such func(kind) bool, upTo uint64) bool {
	for _, r := range p.flight {
		if r.nonce <= upTo && such(r.kind) {
			return true
		}
	}
	return false
}

// gated reports whether listeners, routes and virtual hosts have to wait for clusters
// that were sent before, and whether this is the pass that such a wait ends with.
func (p *proxy) gated() (closed, opened bool) {
	if p.gate == 0 {
		return false, false
	}
	if !p.settled {
		if p.flying(isClusters, p.gate) {
			return true, false
		}
		// Envoy asks for a new cluster's endpoints and secrets before it acknowledges the
		// cluster: the answers are in flight.
		p.gate, p.settled = p.nonce, true
	}
	if p.flying(hasEndpointsOrSecret, p.gate) {
		return true, false
	}
	p.gate, p.settled = 0, false
	return false, true
}

// warms notes that Envoy will wait for those endpoints: it warms a changed cluster anew
// but does not ask again for what it subscribes to already.
func (p *proxy) warms(endpoints string) {
	if endpoints == "" {
		return
	}
	if p.warm == nil {
		p.warm = map[string]struct{}{}
	}
	p.warm[endpoints] = struct{}{}
}

// answered takes a response out of flight. It returns nil for a nonce that is not in flight.
func (p *proxy) answered(nonce string) *response {
	n, err := strconv.ParseUint(nonce, 10, 64)
	if err != nil {
		return nil
	}
	for i, r := range p.flight {
		if r.nonce == n {
			p.flight = slices.Delete(p.flight, i, i+1)
			return r
		}
	}
	return nil
}

// reopen has the virtual hosts of a RouteConfiguration follow it. If the proxy refused it
// before, they follow when it takes it.
func (p *proxy) reopen(route string) {
	if _, refused := p.unrouted[route]; !refused && (p.subs[virtualHosts] != nil || p.greeting != 0) {
		p.reopened = append(p.reopened, route)
	}
}

// routed takes in that the proxy has a RouteConfiguration now.
func (p *proxy) routed(route string) {
	if _, refused := p.unrouted[route]; refused {
		delete(p.unrouted, route)
		p.reopen(route)
	}
}

// acked takes in that the proxy applied a response.
func (p *proxy) acked(r *response) {
	if r.kind == clusters {
		p.warm = nil // what it subscribed to before this stream, it has asked for by now
	}
	p.listening = p.listening || r.kind == listeners
	p.keep(r)
	for _, it := range r.add {
		if len(p.alone)+len(p.refused)+len(p.unrouted) == 0 {
			return
		}
		if r.kind == routes {
			p.routed(it.name)
		}
		n := id{r.kind, it.name}
		delete(p.alone, n)
		if v := p.refused[n]; v != "" && v != it.version && v != p.read.version(p.store, n) {
			p.accept(n)
		}
	}
}

// nacked takes in that the proxy refused a response. Envoy may have applied any part of
// it, so all of it counts as undelivered and its resources go again, each alone. What is
// refused alone is not sent to this proxy again until it changes.
func (p *proxy) nacked(r *response, detail string) {
	if r.kind == routes {
		p.unroute(r.add)
	}
	if len(r.add) == 1 && len(r.gone) == 0 {
		p.refuse(id{r.kind, r.add[0].name}, r.add[0].version, detail)
		return
	}
	if len(r.add) == 0 {
		return
	}
	later := p.inFlight(r.kind)
	for _, name := range r.gone {
		p.retell(id{r.kind, name}, later)
	}
	for _, it := range r.add {
		if n := (id{r.kind, it.name}); p.retell(n, later) {
			p.suspect(n)
		}
	}
}

func (p *proxy) unroute(refused []*item) {
	if p.unrouted == nil {
		p.unrouted = map[string]struct{}{}
	}
	for _, it := range refused {
		p.unrouted[it.name] = struct{}{}
	}
}

// refuse notes a refusal. If something else is in that place by now, that is told; so is that nothing
// is, for the proxy may have an older version.
func (p *proxy) refuse(n id, version, detail string) {
	delete(p.alone, n)
	if now := p.read.version(p.store, n); now != version {
		if p.retell(n, p.inFlight(n.kind)) && now == "" {
			p.suspect(n)
		}
		return
	}
	if p.refused == nil {
		p.refused = map[id]string{}
	}
	p.refused[n] = version
	p.fact.refuse(Refusal{n.wire(), version, detail})
	p.mend(n)
}

// retell asks for a name again, unless a later response speaks of it: that one has its own answer.
func (p *proxy) retell(n id, later map[string]struct{}) bool {
	if _, ok := later[n.name]; ok {
		return false
	}
	p.subs[n.kind].ask(n.name)
	return true
}

// inFlight are the names of a kind that unanswered responses speak of.
func (p *proxy) inFlight(k kind) map[string]struct{} {
	names := map[string]struct{}{}
	for _, r := range p.flight {
		if r.kind != k {
			continue
		}
		for _, it := range r.add {
			names[it.name] = struct{}{}
		}
		for _, name := range r.gone {
			names[name] = struct{}{}
		}
	}
	return names
}

// suspect makes a resource go alone until the proxy takes it.
func (p *proxy) suspect(n id) {
	if p.alone == nil {
		p.alone = map[id]struct{}{}
	}
	p.alone[n] = struct{}{}
}

// accept ends a refusal: the proxy took a newer version, or the resource is gone.
func (p *proxy) accept(n id) {
	if _, ok := p.refused[n]; ok {
		delete(p.refused, n)
		p.fact.accept(n.wire())
	}
}

// acknowledge states the revision up to which the proxy has applied all that its scope
// shows, except what it refused. Before its listeners are applied it has applied nothing.
func (p *proxy) acknowledge() {
	if !p.listening {
		return
	}
	rev := p.read.told
	if len(p.flight) > 0 {
		rev = min(rev, p.flight[0].rev-1)
	}
	if p.waiting() {
		rev = min(rev, p.whole)
	} else {
		p.whole = rev
	}
	p.fact.acknowledge(rev)
}
