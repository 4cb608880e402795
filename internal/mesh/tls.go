package mesh

import (
	"maps"
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// ofTLS says whether a routeKey is a TLSRoute's.
func ofTLS(routeKey string) bool { return strings.HasPrefix(routeKey, TLSRoute+"/") }

// byteRules are those of a route that passes bytes on, in the words of HTTP: backends by weight are all
// that they have.
func byteRules(rules []gwv1.TLSRouteRule) (out []ruleSpec) {
	for _, r := range rules {
		rule := ruleSpec{HTTPRouteRule: gwv1.HTTPRouteRule{Name: r.Name}}
		for _, b := range r.BackendRefs {
			rule.BackendRefs = append(rule.BackendRefs, gwv1.HTTPBackendRef{BackendRef: b})
		}
		out = append(out, rule)
	}
	return out
}

// names are the domains that a route which passes bytes on claims, by domainKey.
func (m *Mesh) names(q *incr.Query, k string) (out []string) {
	for _, a := range m.claims.Get(q, k) {
		for _, p := range a.Places {
			out = append(out, domainKey(takerKey(a.Gateway, p.Listener), p.Domain))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// incumbent is the oldest of the routes that claim a domain, or "". Which of two hostnames is meant where
// one contains the other is told by SNI: only equal ones contend.
func (m *Mesh) incumbent(q *incr.Query, domain string) string {
	return m.oldest(q, m.bytesOn.Get(q, domain))
}

func (m *Mesh) oldest(q *incr.Query, ks []string) (oldest string) {
	for _, k := range ks {
		if oldest == "" || m.older(q, k, oldest) {
			oldest = k
		}
	}
	return oldest
}

// earlier is the incumbent of a domain that a route claims, or "" if it is that route.
func (m *Mesh) earlier(q *incr.Query, k, domain string) string {
	if incumbent := m.incumbent(q, domain); incumbent != k {
		return incumbent
	}
	return ""
}

// passed are the chains of a listener of protocol TLS: one for each domain of its TLSRoutes, and one
// for its own hostname, which a TCPRoute may take, so that no less specific listener gets what no route
// takes.
func (m *Mesh) passed(q *incr.Query, gk string, l listener) []Chain {
	chains := map[string]Chain{}
	chain := func(domain string) Chain {
		return Chain{Name: l.ID + " " + domain, Hostname: sni(domain), Secrets: l.Secrets, Split: splitName(l.resource(gk), l.ID, domain)}
	}
	own := domains(l.host(), nil)[0]
	chains[own] = chain(own)
	for _, k := range m.takenBy.Get(q, takerKey(gk, l.ID)) {
		for _, a := range m.attached.Get(q, k) {
			for _, p := range a.Places {
				if a.Gateway == gk && p.Listener == l.ID && !m.hidden(q, gk, l, p.Domain) {
					chains[p.Domain] = chain(p.Domain)
				}
			}
		}
	}
	return slices.Collect(maps.Values(chains))
}

// splitName is that of what a listener of protocol TLS passes on of a domain.
func splitName(resource, listener, domain string) string {
	return resource + "/" + listener + "/" + domain
}

// parseSplit takes the name of a Split apart: that of its Listener and, of one of protocol TLS, the
// ID of the Gateway's listener and the domain.
func parseSplit(name string) (resource, listener, domain string) {
	parts := strings.SplitN(name, "/", 5)
	resource = strings.Join(parts[:4], "/")
	if len(parts) == 4 {
		return resource, "", "*"
	}
	i := strings.LastIndexByte(parts[4], '/')
	return resource, parts[4][:i], parts[4][i+1:]
}

// ListenerOf is the name of the Listener that has a Split.
func ListenerOf(split string) string {
	resource, _, _ := parseSplit(split)
	return resource
}

// splits are the names of the Splits that a route has at a Gateway, but for those of whole ports.
func (m *Mesh) splits(q *incr.Query, a attached) (out []string) {
	for _, p := range a.Places {
		if l, ok := m.listenerOf(q, a.Gateway, p.Listener); ok && l.bytes() && l.served() && !m.hidden(q, a.Gateway, l, p.Domain) {
			out = append(out, splitName(l.resource(a.Gateway), p.Listener, p.Domain))
		}
	}
	return out
}

// passedTo is where a listener passes the connections of a route.
func (m *Mesh) passedTo(q *incr.Query, k string, l listener) (backends []Backend, unresolved uint32) {
	for _, rule := range m.rules.Get(q, k).Rules {
		unresolved += rule.Unresolved
		for _, b := range rule.Backends {
			if l.bytes() && !l.ends() {
				b.Cluster = m.unwrapped(q, b.Cluster)
			} else {
				b.Cluster = m.wrapped(q, b.Cluster)
			}
			backends = append(backends, b)
		}
	}
	return backends, unresolved
}

// unwrapped is the cluster by which clients' TLS reaches the sidecars that end it; a cluster whose
// endpoints' sidecars do not end it is its own, and carries it inside mTLS to the app.
func (m *Mesh) unwrapped(q *incr.Query, cluster string) string {
	at := parseCluster(cluster)
	if m.endsTLS(q, at.service, at.port) {
		at.protocol = TLS
		return at.name()
	}
	return cluster
}

// wrapped is the cluster by which what was inside clients' TLS reaches apps that speak TLS by
// themselves, as a BackendTLSPolicy says.
func (m *Mesh) wrapped(q *incr.Query, cluster string) string {
	at := parseCluster(cluster)
	if _, port, ok := m.portOf(q, at.service, at.port); ok {
		at.backendTLS = m.backendPolicy(q, at.service, port) != nil
	}
	return at.name()
}

// sni is a domain as a chain matches it: "" for any.
func sni(domain string) string {
	if domain == "*" {
		return ""
	}
	return domain
}
