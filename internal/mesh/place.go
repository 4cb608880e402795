package mesh

import (
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	proxies "github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Kind is a kind of resource that proxies are given.
type Kind string

// The kinds, by what they become in Envoy.
const (
	KindListener    Kind = "listener"
	KindExtension   Kind = "extension" // a filter: of what passes bytes on, of who may reach an app, or that routes share
	KindRoutes      Kind = "routes"
	KindVirtualHost Kind = "virtualhost"
	KindCluster     Kind = "cluster"
	KindEndpoints   Kind = "endpoints"
	KindSecret      Kind = "secret"
)

// Want says that the proxies of Scope see the Variant of the resource Name of kind Kind; "" is the
// ordinary one.
type Want struct {
	Scope   string
	Kind    Kind
	Name    string
	Variant string
}

// Key is the Want as a key of the core.
func (w Want) Key() string {
	return w.Scope + "\x00" + string(w.Kind) + "\x00" + w.Name + "\x00" + w.Variant
}

// ParseWant is the inverse of Want.Key.
func ParseWant(key string) Want {
	p := strings.SplitN(key, "\x00", 4)
	return Want{p[0], Kind(p[1]), p[2], p[3]}
}

// want is the key of a Want for an ordinary resource.
func want(scope string, kind Kind, name string) string { return Want{scope, kind, name, ""}.Key() }

// takerKey is a listener, by its ID.
func takerKey(gateway, listener string) string { return gateway + "|" + listener }

// takers are the listeners that took a route: what their attachedRoutes counts.
func (m *Mesh) takers(q *incr.Query, k string) []string {
	var out []string
	for _, a := range m.attached.Get(q, k) {
		for _, p := range a.Places {
			if t := takerKey(a.Gateway, p.Listener); !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	return out
}

// placements are the virtual hosts that hold a route, by name; none of one that passes bytes on.
func (m *Mesh) placements(q *incr.Query, k string) []string {
	var out []string
	if ofBytes(k) {
		return nil
	}
	for _, a := range m.attached.Get(q, k) {
		if len(a.Places) == 0 {
			continue
		}
		g := m.gateways.Get(q, a.Gateway)
		for _, p := range a.Places {
			name := VirtualHost{Routes: p.Routes, Domain: p.Domain}.Name()
			if l, ok := m.listenerOf(q, a.Gateway, p.Listener); ok && l.served() && g.keeps() && !m.hidden(q, a.Gateway, l, p.Domain) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// routeWants are the virtual hosts that hold a route and the clusters that it sends to; none of a
// UDPRoute, whose listeners have a cluster each.
func (m *Mesh) routeWants(q *incr.Query, k string) []string {
	var out []string
	if ofUDP(k) {
		return nil
	}
	given := m.attached.Get(q, k)
	if slices.ContainsFunc(given, func(a attached) bool { return len(a.Places) > 0 }) {
		out = m.gatewayRouteWants(q, k, given)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// clusterWants are a cluster and its endpoints; of one with TLS to apps, the variant that shows them a
// Gateway's certificate, if it has one.
func clusterWants(scope, cluster, certificate string) []string {
	at := parseCluster(cluster)
	out := []string{want(scope, KindEndpoints, at.endpoints())}
	if !at.backendTLS || certificate == "" {
		return append(out, want(scope, KindCluster, cluster))
	}
	return append(out, Want{scope, KindCluster, cluster, certificate}.Key(), want(scope, KindSecret, certificate))
}

// gatewayRouteWants are what the Gateways need that a route was given to.
func (m *Mesh) gatewayRouteWants(q *incr.Query, k string, given []attached) (out []string) {
	placed, rules := m.placements(q, k), m.rules.Get(q, k).Rules
	for _, a := range given {
		if len(a.Places) == 0 {
			continue
		}
		g := m.gateways.Get(q, a.Gateway)
		if g.Gateway == nil {
			continue
		}
		scope := ProxyScope(g.Gateway)
		for _, name := range placed {
			if owner, _ := parseListener(name); owner == a.Gateway {
				out = append(out, want(scope, KindVirtualHost, name))
			}
		}
		for _, name := range m.splits(q, a) {
			out = append(out, want(scope, KindExtension, name))
		}
		governed := resolved{Rules: m.governedAt(q, rules, a)}
		out = append(out, m.sessionWants(q, scope, governed.Rules, false)...)
		out = append(out, loginWants(scope, governed.Rules)...)
		for _, r := range governed.Rules {
			out = append(out, checkWants(scope, OfGateway, r.Guards)...)
		}
		for _, c := range governed.asking() {
			out = append(out, want(scope, KindCluster, c))
		}
		for _, c := range governed.clusters() {
			out = append(out, clusterWants(scope, c, g.Certificate)...)
			if ofTLS(k) {
				out = append(out, clusterWants(scope, m.unwrapped(q, c), g.Certificate)...)
			}
			if ofBytes(k) {
				out = append(out, clusterWants(scope, m.wrapped(q, c), g.Certificate)...)
			}
		}
	}
	return out
}

// gatewayWants are a Gateway's own listeners, and what its proxies need whatever it serves.
func (m *Mesh) gatewayWants(q *incr.Query, k string) []string {
	g := m.gateways.Get(q, k)
	if g.Gateway == nil || !g.keeps() {
		return nil
	}
	scope := ProxyScope(g.Gateway)
	out := m.listenerWants(q, k, scope, g.Listeners)
	out = append(out, want(scope, KindSecret, RootsSecret), Want{scope, KindSecret, IdentitySecret, key(g.Namespace, proxies.Name(g.Gateway))}.Key())
	out = append(out, m.decisionWants(q, scope, OfGateway)...)
	slices.Sort(out)
	return slices.Compact(out)
}

// listenerWants are what serves some of a Gateway's listeners, with a virtual host for each one's own
// hostname: a listener without routes answers 404 for it rather than leave it to a less specific one.
func (m *Mesh) listenerWants(q *incr.Query, gateway, scope string, listeners []listener) (out []string) {
	add := func(kind Kind, name string) { out = append(out, want(scope, kind, name)) }
	for _, l := range listeners {
		if !l.served() {
			continue
		}
		add(KindListener, l.resource(gateway))
		for _, s := range l.Secrets {
			add(KindSecret, s)
		}
		switch {
		case l.udp():
			add(KindCluster, l.resource(gateway))
			add(KindEndpoints, l.resource(gateway))
			continue
		case l.tcp():
			add(KindExtension, l.resource(gateway))
			add(KindCluster, Blackhole)
			continue
		case l.bytes():
			add(KindExtension, splitName(l.resource(gateway), l.ID, domains(l.host(), nil)[0]))
			add(KindCluster, Blackhole)
			continue
		}
		add(KindRoutes, l.routes(gateway))
		out = append(out, m.sharedWants(q, scope, l.routes(gateway))...)
		add(KindVirtualHost, VirtualHost{Routes: l.routes(gateway), Domain: domains(l.host(), nil)[0]}.Name())
		for _, host := range m.misdirected(q, gateway, l) {
			add(KindVirtualHost, VirtualHost{Routes: l.routes(gateway), Domain: host}.Name())
		}
	}
	return out
}

// Listener is a listener by its name.
func (m *Mesh) Listener(q *incr.Query, name string) Listener {
	gk, port := parseListener(name)
	out := Listener{Name: name, Port: uint32(port), Telemetry: m.telemetry(q), Decisions: m.decisions(q)}
	for _, l := range m.listenersOn(q, gk, name) {
		switch {
		case l.udp():
			out.Datagrams = name
		case l.tcp():
			out.Chains = []Chain{{Name: l.ID, Split: name, Raw: true}}
		case l.bytes():
			out.Chains = append(out.Chains, m.passed(q, gk, l)...)
		case l.https():
			out.Chains = append(out.Chains, m.shares(q, Chain{Name: l.ID, Hostname: l.host(), Routes: l.routes(gk), Secrets: l.Secrets, Clients: l.Clients}))
		default:
			out.Chains = []Chain{m.shares(q, Chain{Name: "http", Routes: l.routes(gk)})}
		}
	}
	slices.SortFunc(out.Chains, func(a, b Chain) int { return strings.Compare(a.Hostname, b.Hostname) })
	return out
}

// VirtualHost is a variant of a virtual host by its name, with the rules of every route placed on it: that At a
// locality, or at any.
func (m *Mesh) VirtualHost(q *incr.Query, name, variant string) VirtualHost {
	routes, domain := parseVirtualHost(name)
	gk, port := parseListener(routes)
	out := VirtualHost{Routes: routes, Domain: domain, Port: uint32(port)}
	out.At, _ = parseAt(variant)
	if l, ok := m.listenerOf(q, gk, listenerID(routes)); ok && l.https() {
		if out.TLS = true; m.misdirects(q, gk, l, domain) {
			out.Rules = []Rule{{Origin: Origin{Kind: HTTPRoute, Name: "misdirected"}, Matches: matches(nil), Fail: 421}}
			return out
		}
	}
	for _, k := range m.placedOn.Get(q, name) {
		rules := m.servedRules(q, k, m.rules.Get(q, k))
		out.Rules = append(out.Rules, m.governed(q, rules, m.entranceOf(q, gk, k, name))...)
	}
	return out
}

// Contributors are the routes that a virtual host is made of, each with the generation that was
// used: who may be to blame when a proxy refuses it.
func (m *Mesh) Contributors(q *incr.Query, name string) map[string]int64 {
	out := map[string]int64{}
	for _, k := range m.placedOn.Get(q, name) {
		if r, ok := m.route(q, k); ok && m.quarantined(q, k).OK() {
			out[k] = r.Generation
		}
	}
	return out
}

// quarantined says why a route is kept from the proxies: one of them refused this generation of it.
func (m *Mesh) quarantined(q *incr.Query, k string) Verdict {
	r, ok := m.route(q, k)
	bad, is := m.Quarantines.Get(q, k)
	if !ok || !is || bad.Generation != r.Generation {
		return Verdict{}
	}
	return wrong(gwv1.RouteReasonUnsupportedValue, "proxy %s refused generation %d of this route, which is therefore not served: %s", bad.Proxy, bad.Generation, bounded(bad.Detail))
}

// Endpoints are the addresses of a cluster by its name, as they are arranged for proxies at a locality.
func (m *Mesh) Endpoints(q *incr.Query, name string, from room.Locality) Endpoints {
	if strings.HasPrefix(name, GatewayPrefix) {
		return m.datagrams(q, name)
	}
	if IsSession(name) {
		return m.sessionEndpoints(q, name, from)
	}
	at := parseCluster(name)
	out := Endpoints{Cluster: name}
	if svc, port, ok := m.portOf(q, at.service, at.port); ok {
		all := m.addressesOf(q, svc, port.Name)
		out.Addresses = all.usable()
		for _, by := range m.arrangements.Get(q, name) {
			out.Localities, out.Policies = m.arranged(q, by, from, all), policyKeys([]room.Decided{by})
		}
	}
	return out
}
