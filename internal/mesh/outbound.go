package mesh

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// ServiceListener is one port of one Service as a caller's sidecar meets it.
type ServiceListener struct {
	Name      string   // outbound/<namespace>/<service>/<port>, that of its RouteConfiguration too
	Addresses []string // the Service's cluster IPs
	Port      uint32
	Protocol  Protocol
	Service   string // its key
	Cluster   string // where what is not HTTP goes
	Split     string // the name of its Split, if a TCPRoute says where
	// Shared are the sections of policies that have a filter here which the Routes share.
	Shared    []string
	Counted   bool    // and there is one that asks the quota service
	Apart     []Apart // of policies
	Telemetry v1alpha1.Telemetry
}

// OverHTTP2Routes is the RouteConfiguration for callers of an undeclared port that speak HTTP/2.
func (l ServiceListener) OverHTTP2Routes() string { return l.Name + overHTTP2 }

func serviceListenerName(service string, port int32) string {
	namespace, name, _ := strings.Cut(service, "/")
	return OutboundListener + strings.TrimPrefix(clusterName(namespace, name, port), "service")
}

// parseServiceListener takes the name of a ServiceListener, or of one of its RouteConfigurations, apart.
func parseServiceListener(name string) clusterAt {
	return parseCluster("service" + strings.TrimPrefix(name, OutboundListener))
}

// ServiceListener is the listener of a Service port by its name, as a namespace's pods meet it; "" are those
// of every namespace without TCPRoutes of its own.
func (m *Mesh) ServiceListener(q *incr.Query, name, consumer string) ServiceListener {
	at := parseServiceListener(name)
	out := ServiceListener{Name: name, Port: uint32(at.port), Service: at.service, Telemetry: m.telemetry(q)}
	svc, port, ok := m.portOf(q, at.service, at.port)
	if !ok {
		return out
	}
	at.protocol = TCP
	out.Addresses, out.Protocol, out.Cluster = clusterIPs(svc), declared(port), at.name()
	if m.bytesFronting(q, at.service, at.port, consumer) != "" || len(m.divisionOf(q, at.service, at.port).Bytes) > 0 {
		out.Split = name
	}
	if routable(port) {
		out.Shared, out.Counted = m.sharedSections(q, name), m.counts(q, name)
		out.Apart = m.apartAt(q, name)
	}
	return out
}

// telemetry is what the Mesh says of logs.
func (m *Mesh) telemetry(q *incr.Query) v1alpha1.Telemetry {
	if settings, ok := m.Meshes.Get(q, v1alpha1.MeshName); ok {
		return settings.Spec.Telemetry
	}
	return v1alpha1.Telemetry{}
}

// clusterIPs are the addresses under which pods reach a Service through its listener.
func clusterIPs(svc *corev1.Service) []string {
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(svc.Spec.ClusterIPs), func(ip string) bool {
		_, err := netip.ParseAddr(ip)
		return err != nil // "None"
	})
}

// serviceWants are what every sidecar sees because of a Service.
func (m *Mesh) serviceWants(q *incr.Query, k string) (out []string) {
	svc, ok := m.Services.Get(q, k)
	if !ok || len(clusterIPs(svc)) == 0 {
		return nil
	}
	for _, port := range svc.Spec.Ports {
		if !overTCP(port) {
			continue
		}
		at := clusterAt{service: k, port: port.Port}
		name, protocol := serviceListenerName(k, port.Port), declared(port)
		add := func(kind Kind, name string) { out = append(out, want(MeshScope, kind, name)) }
		add(KindListener, name)
		add(KindEndpoints, at.endpoints())
		if routable(port) {
			straight := m.straight(q, k, port)
			add(KindCluster, straight.Backends[0].Cluster)
			out = append(out, referredWants(MeshScope, []Rule{straight})...)
			add(KindRoutes, name)
			out = append(out, m.sharedWants(q, MeshScope, name)...)
			for _, consumer := range consumers(q, m.frontedBy, k, port.Port) {
				out = append(out, Want{NamespaceScope(consumer), KindRoutes, name, consumer}.Key())
			}
		}
		if protocol == Undeclared {
			add(KindRoutes, name+overHTTP2)
			add(KindCluster, OverHTTP2(m.straight(q, k, port).Backends[0].Cluster))
			for _, consumer := range consumers(q, m.frontedBy, k, port.Port) {
				out = append(out, Want{NamespaceScope(consumer), KindRoutes, name + overHTTP2, consumer}.Key())
			}
		}
		if !protocol.HTTP() {
			at.protocol = TCP
			add(KindCluster, at.name())
			out = append(out, m.splitWants(q, k, port.Port)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ServiceHost is what the requests of a consumer namespace's pods to a Service port meet, by the name of
// the RouteConfiguration; "" are those of every namespace without routes of its own. The variant is that namespace,
// At a locality or at any.
func (m *Mesh) ServiceHost(q *incr.Query, name, variant string) VirtualHost {
	at := parseServiceListener(name)
	from, consumer := parseAt(variant)
	host := VirtualHost{Routes: name, Domain: "*", Port: uint32(at.port), At: from}
	overHTTP2 := at.protocol == HTTP2
	at.protocol = ""
	_, port, ok := m.portOf(q, at.service, at.port)
	if !ok {
		return host
	}
	rules, routed := m.serviceRules(q, at.service, at.port, consumer)
	if routed {
		rules = m.governed(q, rules, entrance{kind: room.Service, key: at.service, port: port})
	} else {
		rules = []Rule{m.straight(q, at.service, port)}
	}
	if overHTTP2 {
		rules = m.overHTTP2(q, rules)
	}
	host.Rules = rules
	return host
}

// straight is the rule of the requests to a Service's port that no route acts on.
func (m *Mesh) straight(q *incr.Query, service string, port corev1.ServicePort) Rule {
	namespace, name, _ := strings.Cut(service, "/")
	rule := Rule{
		Origin:   Origin{Kind: string(room.Service), Namespace: namespace, Name: name, RuleName: strconv.Itoa(int(port.Port))},
		Matches:  matches(nil),
		Backends: []Backend{{Cluster: clusterAt{service: service, port: port.Port}.name(), Weight: 1}},
	}
	if wanted := m.policySession(q, rule.Backends); wanted != nil {
		rule.Session = newSession(wanted, rule.Origin, true)
	}
	return m.governed(q, []Rule{rule}, entrance{kind: room.Service, key: service, port: port})[0]
}

// overHTTP2 has undeclared ports spoken to by HTTP/2, as the caller speaks it.
func (m *Mesh) overHTTP2(q *incr.Query, rules []Rule) []Rule {
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].Backends = m.spokenOverHTTP2(q, rules[i])
	}
	return rules
}

// spokenOverHTTP2 are a rule's backends for callers that speak HTTP/2.
func (m *Mesh) spokenOverHTTP2(q *incr.Query, r Rule) []Backend {
	behind := r.sessionBackends()
	if len(behind) == 0 {
		return m.undeclaredOverHTTP2(q, r.Backends)
	}
	out := slices.Clone(r.Backends)
	if !slices.EqualFunc(behind, m.undeclaredOverHTTP2(q, behind), func(a, b Backend) bool { return a.Cluster == b.Cluster }) {
		out[0].Cluster += overHTTP2
	}
	return out
}

func (m *Mesh) undeclaredOverHTTP2(q *incr.Query, backends []Backend) []Backend {
	out := slices.Clone(backends)
	for i, b := range out {
		out[i].Cluster = m.asCalled(q, b.Cluster)
	}
	return out
}

// asCalled is the cluster by which callers that speak HTTP/2 reach what another one leads to.
func (m *Mesh) asCalled(q *incr.Query, cluster string) string {
	at := parseCluster(cluster)
	if _, port, ok := m.portOf(q, at.service, at.port); ok && declared(port) == Undeclared {
		return OverHTTP2(cluster)
	}
	return cluster
}
