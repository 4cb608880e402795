package mesh

import (
	"cmp"
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// routeReasonConflicted is what GEP-1294 has said of a route that yields to one of another kind.
const routeReasonConflicted gwv1.RouteConditionReason = "Conflicted"

// rivalry decides between routes of different kinds, which Gateway API does not merge: of those that
// share a hostname on a listener the oldest is accepted; on a Service's port the GRPCRoutes are. Where
// no GRPCRoute is, HTTPRoutes read nothing of each other.
type rivalry struct {
	// Who claims a domain on a listener, by domainKey and below; HTTPRoutes on mixed ones only.
	grpcOn, httpOn *incr.View[string, string]
	mixed          *incr.Memo[string, bool]   // by takerKey: whether a GRPCRoute claims it
	born           *incr.Memo[string, int64]  // by routeKey: seconds since 1970
	outranked      *incr.Memo[string, string] // by routeKey@takerKey: the routeKey of the winner
	callers        *incr.View[string, string] // GRPCRoutes by frontendKey
	bytesOn        *incr.View[string, string] // routes that pass bytes on by domainKey
}

func (m *Mesh) newRivalry() rivalry {
	var r rivalry
	r.born = incr.NewMemo(m.Graph, "born", same[int64], func(q *incr.Query, k string) int64 {
		route, ok := m.route(q, k)
		if !ok {
			return 0
		}
		return route.CreationTimestamp.Unix()
	})
	r.grpcOn = incr.NewView(m.ofKind(GRPCRoute), "grpcOn", func(q *incr.Query, k string) []string {
		return m.contested(q, k, func(string) bool { return true })
	})
	r.mixed = incr.NewMemo(m.Graph, "mixed", same[bool], func(q *incr.Query, taker string) bool {
		return len(r.grpcOn.Get(q, domainKey(taker, "*")))+len(r.grpcOn.Get(q, below(taker, "*"))) > 0
	})
	r.httpOn = incr.NewView(m.ofKind(HTTPRoute), "httpOn", func(q *incr.Query, k string) []string {
		return m.contested(q, k, func(taker string) bool { return r.mixed.Get(q, taker) })
	})
	r.outranked = incr.NewMemo(m.Graph, "outranked", same[string], m.outrank)
	r.callers = incr.NewView(m.ofKind(GRPCRoute), "callers", func(q *incr.Query, k string) []string {
		return m.frontendKeys(q, k, m.claims.Get(q, k))
	})
	r.bytesOn = incr.NewView(m.byteRoutes(), "bytesOn", m.names)
	return r
}

// domainKey is a domain on a listener.
func domainKey(taker, domain string) string { return taker + "|" + domain }

// below is the domainKey of all domains that a wildcard contains.
func below(taker, wildcard string) string { return domainKey(taker, "<"+wildcard) }

// wildcards are those that contain a domain, but for itself.
func wildcards(domain string) (out []string) {
	rest := strings.TrimPrefix(domain, "*.")
	for rest != "" && domain != "*" {
		if wild := "*." + rest; wild != domain && rest != domain {
			out = append(out, wild)
		}
		_, rest, _ = strings.Cut(rest, ".")
	}
	if domain != "*" {
		out = append(out, "*")
	}
	return out
}

// contested are the domains that a route claims on those listeners where that matters, and the
// wildcards above them.
func (m *Mesh) contested(q *incr.Query, k string, matters func(taker string) bool) (out []string) {
	for _, a := range m.claims.Get(q, k) {
		for _, p := range a.Places {
			taker := takerKey(a.Gateway, p.Listener)
			if !matters(taker) {
				continue
			}
			out = append(out, domainKey(taker, p.Domain))
			for _, w := range wildcards(p.Domain) {
				out = append(out, below(taker, w))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// outrank finds an older route of the other kind that is accepted and shares a hostname on a listener.
// That it is the older is asked first: so no two routes ask each other.
func (m *Mesh) outrank(q *incr.Query, at string) string {
	k, taker, _ := strings.Cut(at, "@")
	for _, a := range m.claims.Get(q, k) {
		for _, p := range a.Places {
			if takerKey(a.Gateway, p.Listener) != taker {
				continue
			}
			for _, rival := range m.claimants(q, k, taker, p.Domain) {
				if m.older(q, rival, k) && m.rules.Get(q, rival).Kept && m.outranked.Get(q, rival+"@"+taker) == "" {
					return rival
				}
			}
		}
	}
	return ""
}

// claimants are the routes of the other kind than k's whose hostnames on a listener meet a domain.
func (m *Mesh) claimants(q *incr.Query, k, taker, domain string) []string {
	others := m.grpcOn
	if strings.HasPrefix(k, GRPCRoute) {
		others = m.httpOn
	}
	out := slices.Clone(others.Get(q, domainKey(taker, domain)))
	for _, w := range wildcards(domain) {
		out = append(out, others.Get(q, domainKey(taker, w))...)
	}
	if strings.HasPrefix(domain, "*") {
		out = append(out, others.Get(q, below(taker, domain))...)
	}
	return out
}

// older says whether route a comes before b: by age, then by name.
func (m *Mesh) older(q *incr.Query, a, b string) bool {
	named := func(k string) string { _, name, _ := strings.Cut(k, "/"); return name }
	return cmp.Or(cmp.Compare(m.born.Get(q, a), m.born.Get(q, b)), cmp.Compare(named(a), named(b)), cmp.Compare(a, b)) < 0
}

// winner is the route that keeps another from a place, or none. TCPRoutes and UDPRoutes keep theirs: of
// those on a listener, which counts all, the oldest is served.
func (m *Mesh) winner(q *incr.Query, k string, a *attached, p place) string {
	taker := takerKey(a.Gateway, p.Listener)
	if ofTLS(k) {
		return m.earlier(q, k, domainKey(taker, p.Domain))
	}
	if ofBytes(k) || !m.mixed.Get(q, taker) {
		return ""
	}
	return m.outranked.Get(q, k+"@"+taker)
}

// yieldPlaces takes from a route the listeners on which it is outranked.
func (m *Mesh) yieldPlaces(q *incr.Query, k string, a *attached) {
	i := slices.IndexFunc(a.Places, func(p place) bool { return m.winner(q, k, a, p) != "" })
	if i < 0 {
		return
	}
	kind, name, _ := strings.Cut(m.winner(q, k, a, a.Places[i]), "/")
	a.Places = slices.DeleteFunc(slices.Clone(a.Places), func(p place) bool { return m.winner(q, k, a, p) != "" })
	switch {
	case len(a.Places) > 0:
	case ofTLS(k):
		a.Refused = wrong(routeReasonConflicted, "%s: %s %s is older and has the hostnames of this route on the same listener of Gateway %s, where a hostname has one route: change the hostnames of one of them", a.Field, kind, name, a.Gateway)
	default:
		a.Refused = wrong(routeReasonConflicted, "%s: %s %s is older and has a hostname of this route on the same listener of Gateway %s, where a hostname has routes of one kind only: change the hostnames or the listener of one of them", a.Field, kind, name, a.Gateway)
	}
}

// yieldPorts takes from an HTTPRoute the Service's ports that have GRPCRoutes.
func (m *Mesh) yieldPorts(q *incr.Query, k string, a *attached) {
	if !strings.HasPrefix(k, HTTPRoute) {
		return
	}
	callers := func(port int32) []string { return m.callers.Get(q, frontendKey(a.Service, port, namespaceOf(k))) }
	i := slices.IndexFunc(a.Ports, func(port int32) bool { return len(callers(port)) > 0 })
	if i < 0 {
		return
	}
	kind, name, _ := strings.Cut(callers(a.Ports[i])[0], "/")
	a.Ports = slices.DeleteFunc(slices.Clone(a.Ports), func(port int32) bool { return len(callers(port)) > 0 })
	if len(a.Ports) == 0 {
		a.Refused = wrong(routeReasonConflicted, "%s: %s %s has the same port of Service %s as parent, which has routes of one kind only: change the parentRefs of one of them", a.Field, kind, name, a.Service)
	}
}
