package mesh

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	proxies "github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/incr"
)

// routeReasonNotEnforced says that no proxy sees what a route is about.
const routeReasonNotEnforced gwv1.RouteConditionReason = "NotEnforced"

// ofUDP says whether a routeKey is a UDPRoute's.
func ofUDP(routeKey string) bool { return strings.HasPrefix(routeKey, UDPRoute+"/") }

// ofBytes says whether a routeKey is that of a route which passes bytes on as they come.
func ofBytes(routeKey string) bool {
	return ofTLS(routeKey) || ofUDP(routeKey) || strings.HasPrefix(routeKey, TCPRoute+"/")
}

// byteRoutes is the source of the keys of all routes that pass bytes on.
func (m *Mesh) byteRoutes() incr.Live[string] {
	return incr.Union(m.ofKind(TLSRoute), m.ofKind(TCPRoute), m.ofKind(UDPRoute))
}

// likeTLS are rules of a TCPRoute or UDPRoute as if they were a TLSRoute's.
func likeTLS[R gwv1.TCPRouteRule | gwv1.UDPRouteRule](rules []R) []gwv1.TLSRouteRule {
	out := make([]gwv1.TLSRouteRule, len(rules))
	for i, r := range rules {
		out[i] = gwv1.TLSRouteRule(r)
	}
	return out
}

// notOfServices says why a route of a kind cannot have a Service as parent.
func notOfServices(kind string, a attached) Verdict {
	switch kind {
	case TLSRoute:
		return wrong(gwv1.RouteReasonNoMatchingParent, "%s: a TLSRoute cannot have Service %s as parent: name a Gateway with a listener of protocol TLS", a.Field, a.Service)
	case UDPRoute:
		return wrong(routeReasonNotEnforced, "%s: no sidecar sees UDP, so that datagrams to Service %s go where the Service sends them: name a Gateway with a listener of protocol UDP", a.Field, a.Service)
	}
	return Verdict{}
}

// passedOver tells of the listeners and ports that a TCPRoute or UDPRoute is attached to and that give it
// nothing, or is "".
func (m *Mesh) passedOver(q *incr.Query, k string, a attached) string {
	if ofTLS(k) || !ofBytes(k) {
		return ""
	}
	var out []string
	note := func(what, incumbent string) {
		if kind, name, has := strings.Cut(incumbent, "/"); has && incumbent != k {
			out = append(out, fmt.Sprintf("%s, which %s %s has", what, kind, name))
		}
	}
	for _, p := range a.Places {
		note("listener "+p.Listener, m.incumbent(q, domainKey(takerKey(a.Gateway, p.Listener), p.Domain)))
	}
	for _, port := range a.Ports {
		note(fmt.Sprintf("port %d", port), m.oldest(q, m.bytesFrontedBy.Get(q, frontendKey(a.Service, port, namespaceOf(k)))))
	}
	if len(out) == 0 {
		return ""
	}
	return bounded("The route is accepted, but gets nothing of " + strings.Join(out, ", nor of ") + ", because it is older: give one of them another parent.")
}

// bytesFronting is the TCPRoute by which pods of namespace consumer reach a port of a Service, or "".
func (m *Mesh) bytesFronting(q *incr.Query, service string, port int32, consumer string) string {
	return m.oldest(q, nearest(q, m.bytesFrontedBy, service, port, consumer))
}

// splitWants are what sidecars see of the TCPRoutes of a Service's port, or of its TrafficSplit.
func (m *Mesh) splitWants(q *incr.Query, service string, port int32) (out []string) {
	name := serviceListenerName(service, port)
	if m.bytesFronting(q, service, port, "") != "" || len(m.divisionOf(q, service, port).Bytes) > 0 {
		out = append(out, want(MeshScope, KindExtension, name))
	}
	for _, consumer := range consumers(q, m.bytesFrontedBy, service, port) {
		for _, kind := range []Kind{KindListener, KindExtension} {
			out = append(out, Want{NamespaceScope(consumer), kind, name, consumer}.Key())
		}
	}
	return out
}

// ServiceSplit is the Split of a ServiceListener's name, as a namespace's pods meet it.
func (m *Mesh) ServiceSplit(q *incr.Query, name, consumer string) Split {
	at := parseServiceListener(name)
	out := Split{Name: name, Service: at.service, Port: uint32(at.port), Telemetry: m.telemetry(q)}
	route := m.bytesFronting(q, at.service, at.port, consumer)
	if route == "" {
		out.Backends = m.divisionOf(q, at.service, at.port).Bytes
		return out
	}
	for _, rule := range m.serviceBound.Get(q, route).Rules {
		out.Backends, out.Unresolved = append(out.Backends, rule.Backends...), out.Unresolved+rule.Unresolved
	}
	return out
}

// Split is the one of a Gateway by its name.
func (m *Mesh) Split(q *incr.Query, name string) Split {
	out := Split{Name: name, Telemetry: m.telemetry(q)}
	resource, listener, domain := parseSplit(name)
	if k, l := m.servedAt(q, resource, listener, domain); k != "" {
		out.Backends, out.Unresolved = m.passedTo(q, k, l)
	}
	return out
}

// servedAt is the route that has a domain of a listener, by its ID or, if a Listener has one only, "";
// or "".
func (m *Mesh) servedAt(q *incr.Query, resource, id, domain string) (k string, l listener) {
	gk, _ := parseListener(resource)
	if id != "" {
		l, _ = m.listenerOf(q, gk, id)
	} else if on := m.listenersOn(q, gk, resource); len(on) > 0 {
		l = on[0]
	}
	if l.ID == "" || !l.served() || l.resource(gk) != resource {
		return "", l
	}
	return m.incumbent(q, domainKey(takerKey(gk, l.ID), domain)), l
}

// weightOfAll is what the weights of all endpoints of a Listener of protocol UDP come to, but for
// rounding. Envoy adds those of a zone up in 32 bits.
const weightOfAll = 1 << 24

// datagrams are the endpoints that a Listener of protocol UDP sends to: those of all backends of its
// route in one Cluster, for Envoy knows no weights of Clusters there. Each has its part of its backend's
// weight. What falls to backends that cannot be resolved or have no endpoint goes to where nobody listens.
func (m *Mesh) datagrams(q *incr.Query, name string) Endpoints {
	out := Endpoints{Cluster: name}
	k, _ := m.servedAt(q, name, "", "*")
	if k == "" {
		return out
	}
	weights, all, lost := map[Endpoint]uint64{}, uint64(0), uint64(0)
	for _, rule := range m.rules.Get(q, k).Rules {
		for _, b := range rule.Backends {
			all += uint64(b.Weight)
		}
		all, lost = all+uint64(rule.Unresolved), lost+uint64(rule.Unresolved)
	}
	for _, rule := range m.rules.Get(q, k).Rules {
		for _, b := range rule.Backends {
			endpoints := m.datagramEndpoints(q, b.Cluster)
			for _, e := range endpoints {
				weights[e] += max(1, weightOfAll*uint64(b.Weight)/(all*uint64(len(endpoints))))
			}
			if len(endpoints) == 0 {
				lost += uint64(b.Weight)
			}
		}
	}
	if lost > 0 && len(weights) > 0 {
		weights[nobody] = max(1, weightOfAll*lost/all)
	}
	for e, weight := range weights {
		e.Weight = uint32(weight)
		out.Addresses = append(out.Addresses, e)
	}
	slices.SortFunc(out.Addresses, byAddress)
	return out
}

// nobody is where no datagram is heard: no Gateway can listen there, and the proxy itself does by TCP only.
var nobody = Endpoint{Address: "127.0.0.1", Port: proxies.AdminPort}

// datagramEndpoints are the addresses of a backend of a UDPRoute, without what only mTLS is about.
func (m *Mesh) datagramEndpoints(q *incr.Query, cluster string) []Endpoint {
	at := parseCluster(cluster)
	svc, port, ok := m.portOver(q, at.service, at.port, corev1.ProtocolUDP)
	if !ok {
		return nil
	}
	out := slices.Clone(m.addressesOf(q, svc, port.Name).usable())
	for i := range out {
		out[i].Identity = ""
	}
	return out
}
