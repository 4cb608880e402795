package mesh

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/smi"
)

// TrafficSplit is SMI's kind that divides what callers send to a Service, its apex. It acts where Routes of
// Services do, in the callers' proxies, and where there is none of these.
const TrafficSplit = "TrafficSplit"

// splitting is what is remembered of TrafficSplits.
type splitting struct {
	splitsOf  *incr.Index[string, string] // TrafficSplits by their apex, both by key
	groupedBy *incr.Index[string, string] // TrafficSplits by HTTPRouteGroup, both by key
	splitAt   *incr.Memo[string, divided] // by portKey, of the TrafficSplit in place of its apex
	splitOn   *incr.Memo[string, string]  // by portKey: the TrafficSplit that has the port, by routeKey, or ""
}

func (m *Mesh) newSplitting() splitting {
	return splitting{
		splitsOf: incr.NewIndex(m.TrafficSplits, func(_ string, s *split.TrafficSplit) []string {
			if apex, ok := apexOf(s); ok {
				return []string{apex}
			}
			return nil
		}),
		groupedBy: incr.NewIndex(m.TrafficSplits, func(_ string, s *split.TrafficSplit) []string { return splitGroups(s) }),
		splitAt:   incr.NewMemo(m.Graph, "splitAt", same[divided], m.divide),
		splitOn:   incr.NewMemo(m.Graph, "splitOn", same[string], m.splitHolding),
	}
}

// apexOf is the key of the Service that a TrafficSplit is about.
func apexOf(s *split.TrafficSplit) (service string, ok bool) {
	name, ok := smi.ServiceName(s.Spec.Service, s.Namespace)
	return key(s.Namespace, name), ok
}

func parsePortKey(k string) (name string, port int32) {
	name, number, _ := strings.Cut(k, ":")
	p, _ := strconv.ParseInt(number, 10, 32)
	return name, int32(p)
}

// divided is what a TrafficSplit makes of one port of its apex.
type divided struct {
	HTTP  []Rule    // of requests; none: it has nothing to do with them
	Bytes []Backend // of other connections; none: the same
	Refs  Verdict   // what could not be resolved, and is left out
	Bad   Verdict   // why it does nothing at all
}

func (d divided) clusters() []string {
	out := resolved{Rules: d.HTTP}.clusters()
	for _, b := range d.Bytes {
		out = append(out, b.Cluster)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// divide is what a TrafficSplit would do on a port if nothing else had it. What does not resolve is left
// out, as SMI asks: the others share.
func (m *Mesh) divide(q *incr.Query, k string) divided {
	k, number := parsePortKey(k)
	s, ok := m.TrafficSplits.Get(q, k)
	apex, named := "", false
	if ok {
		apex, named = apexOf(s)
	}
	_, port, there := m.portOf(q, apex, number)
	if !named || !there {
		return divided{Bad: wrong(split.ReasonPortNotFound, "spec.service: there is no such port")}
	}
	var out divided
	var refs []Verdict
	origin := Origin{Kind: TrafficSplit, Namespace: s.Namespace, Name: s.Name, Created: s.CreationTimestamp.Time}
	conditional := len(s.Spec.Matches) > 0
	if routable(port) {
		backends, problems := m.splitBackends(q, s, number, false)
		refs = append(refs, problems...)
		described, problems := m.splitMatches(q, s)
		refs = append(refs, problems...)
		if len(backends) > 0 && (len(described) > 0 || !conditional) {
			out.HTTP = splitRules(origin, backends, described, clusterAt{service: apex, port: number}.name(), conditional)
		}
	}
	if !declared(port).HTTP() && !conditional {
		backends, problems := m.splitBackends(q, s, number, true)
		out.Bytes, refs = backends, append(refs, problems...)
	}
	out.Refs = join(worstFirst(refs))
	if len(out.HTTP)+len(out.Bytes) == 0 {
		out.Bad = idle(s, port, out.Refs)
	}
	return out
}

// idle says why a TrafficSplit does nothing on a port.
func idle(s *split.TrafficSplit, port corev1.ServicePort, refs Verdict) Verdict {
	switch {
	case len(s.Spec.Matches) > 0 && !routable(port):
		return wrong(split.ReasonUnsupported, "spec.matches: port %d of Service %s carries no HTTP that a proxy could read, so that no request can be told from another: see its protocol, appProtocol and name", port.Port, s.Spec.Service)
	case !refs.OK():
		return Verdict{refs.Reason, refs.Message + "; what is sent to the Service goes to its own pods"}
	}
	return wrong(split.ReasonNoWeight, "spec.backends: none has a weight, so that what is sent to Service %s goes to its own pods: give one of them a weight", s.Spec.Service)
}

// splitRules are a TrafficSplit's in the words of an HTTPRoute. What a conditional one does not describe
// goes to the apex itself.
func splitRules(o Origin, backends []Backend, described []gwv1.HTTPRouteMatch, apex string, conditional bool) []Rule {
	rules := []Rule{{Origin: o, Matches: matches(described), Backends: backends}}
	if conditional {
		o.Index = 1
		rules = append(rules, Rule{Origin: o, Matches: matches(nil), Backends: []Backend{{Cluster: apex, Weight: 1}}})
	}
	return rules
}

// splitBackends are those of a TrafficSplit that can be sent to, by bytes or by requests, and what is
// wrong with the others. One of weight 0 need not be there.
func (m *Mesh) splitBackends(q *incr.Query, s *split.TrafficSplit, port int32, bytes bool) (out []Backend, problems []Verdict) {
	for _, b := range smi.Backends(s) {
		if b.Weight == 0 {
			continue
		}
		cluster, bad := m.splitBackend(q, s, b, port, bytes)
		if problems = append(problems, bad); bad.OK() {
			out = append(out, Backend{Cluster: cluster, Weight: b.Weight})
		}
	}
	return out, problems
}

func (m *Mesh) splitBackend(q *incr.Query, s *split.TrafficSplit, b smi.Backend, port int32, bytes bool) (string, Verdict) {
	field := fmt.Sprintf("spec.backends[%d].service", b.Index)
	name, ok := smi.ServiceName(b.Service, s.Namespace)
	if !ok {
		return "", wrong(split.ReasonUnsupported, "%s: %q is no Service of namespace %s: a split stays in its namespace", field, b.Service, s.Namespace)
	}
	k := key(s.Namespace, name)
	switch svc, ok := m.Services.Get(q, k); {
	case !ok:
		return "", wrong(split.ReasonServiceNotFound, "%s: Service %s does not exist, and gets nothing", field, k)
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return "", wrong(split.ReasonUnsupported, "%s: Service %s is of type ExternalName, to which nothing is sent (CVE-2021-25740): name a Service with endpoints", field, k)
	}
	_, p, ok := m.portOf(q, k, port)
	if !ok {
		return "", wrong(split.ReasonPortNotFound, "%s: Service %s has no port %d of protocol TCP, as Service %s has, and gets nothing of what is sent to that", field, k, port, s.Spec.Service)
	}
	at := clusterAt{service: k, port: port}
	if bytes {
		at.protocol = TCP
	} else if _, speaks := protocolOf(p); !speaks {
		return "", wrong(split.ReasonUnsupported, "%s: port %d of Service %s has appProtocol %q, which no sidecar speaks: it gets no requests", field, port, k, *p.AppProtocol)
	}
	return at.name(), Verdict{}
}

// splitMatches are what the HTTPRouteGroups of a TrafficSplit describe, all together.
func (m *Mesh) splitMatches(q *incr.Query, s *split.TrafficSplit) (out []gwv1.HTTPRouteMatch, problems []Verdict) {
	for i, ref := range s.Spec.Matches {
		field, k := fmt.Sprintf("spec.matches[%d]", i), key(s.Namespace, ref.Name)
		if ref.Kind != HTTPRouteGroup {
			problems = append(problems, wrong(split.ReasonUnsupported, "%s.kind: %q does not describe requests: name an HTTPRouteGroup", field, ref.Kind))
			continue
		}
		g, ok := m.HTTPRouteGroups.Get(q, k)
		if !ok {
			problems = append(problems, wrong(split.ReasonGroupNotFound, "%s: HTTPRouteGroup %s does not exist, and describes nothing", field, k))
			continue
		}
		if bad := badHTTPMatches(g); !bad.OK() {
			problems = append(problems, wrong(bad.Reason, "%s: HTTPRouteGroup %s: %s", field, k, bad.Message))
		}
		for j := range g.Spec.Matches {
			if badHTTPMatch(&g.Spec.Matches[j], "").OK() {
				out = append(out, smi.Matches(&g.Spec.Matches[j])...)
			}
		}
	}
	return out, problems
}

// splitVersion is the generation of what a TrafficSplit says, with what it names for it.
func (m *Mesh) splitVersion(q *incr.Query, s *split.TrafficSplit) int64 {
	out := s.Generation
	for _, k := range splitGroups(s) {
		if g, ok := m.HTTPRouteGroups.Get(q, k); ok {
			out += g.Generation
		}
	}
	return out
}

// splitHolding is the TrafficSplit that has a port of a Service among those of the same apex: the oldest,
// then the first by name, of those that do something on it.
func (m *Mesh) splitHolding(q *incr.Query, at string) string {
	service, port := parsePortKey(at)
	best := ""
	for _, k := range m.splitsOf.Get(q, service) {
		mine := routeKey(TrafficSplit, k)
		if !m.splitAt.Get(q, portKey(k, port)).Bad.OK() || !m.quarantined(q, mine).OK() {
			continue
		}
		if best == "" || m.older(q, mine, best) {
			best = mine
		}
	}
	return best
}

// splitServing is the TrafficSplit, by routeKey, by which requests and connections to a port of a Service
// are divided that meet no route of the consumer's namespace; "" if there is none, or routes of Gateway
// API have the port.
func (m *Mesh) splitServing(q *incr.Query, service string, port int32) string {
	if len(m.splitsOf.Get(q, service)) == 0 || m.routeHolding(q, service, port) != "" || m.unaddressed(q, service) != "" {
		return ""
	}
	return m.splitOn.Get(q, portKey(service, port))
}

// routeHolding is a route of Gateway API that the producer gave a port of a Service, or "".
func (m *Mesh) routeHolding(q *incr.Query, service string, port int32) string {
	producer, _, _ := strings.Cut(service, "/")
	k := frontendKey(service, port, producer)
	for _, routes := range []*incr.View[string, string]{m.frontedBy, m.bytesFrontedBy} {
		if on := routes.Get(q, k); len(on) > 0 {
			return on[0]
		}
	}
	return ""
}

// unaddressed says why what is sent to a Service cannot be known by its address, or is "".
func (m *Mesh) unaddressed(q *incr.Query, service string) string {
	switch svc, ok := m.Services.Get(q, service); {
	case !ok:
		return ""
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return "of type ExternalName"
	case svc.Spec.ClusterIP == corev1.ClusterIPNone:
		return "headless"
	}
	return ""
}

// divisionOf is what the TrafficSplit that serves a port of a Service makes of it.
func (m *Mesh) divisionOf(q *incr.Query, service string, port int32) (out divided) {
	if k := m.splitServing(q, service, port); k != "" {
		_, name, _ := strings.Cut(k, "/")
		out = m.splitAt.Get(q, portKey(name, port))
	}
	return out
}

// trafficSplitWants are the clusters that a TrafficSplit sends to, which every sidecar sees.
func (m *Mesh) trafficSplitWants(q *incr.Query, k string) (out []string) {
	_, name, _ := strings.Cut(k, "/")
	s, ok := m.TrafficSplits.Get(q, name)
	if !ok {
		return nil
	}
	apex, _ := apexOf(s)
	svc, ok := m.Services.Get(q, apex)
	if !ok {
		return nil
	}
	for _, port := range svc.Spec.Ports {
		if !overTCP(port) || m.splitServing(q, apex, port.Port) != k {
			continue
		}
		division := m.splitAt.Get(q, portKey(name, port.Port))
		division.HTTP = m.governed(q, division.HTTP, entrance{kind: room.Service, key: apex, port: port})
		out = append(out, referredWants(MeshScope, division.HTTP)...)
		for _, c := range division.clusters() {
			out = append(out, want(MeshScope, KindCluster, c), want(MeshScope, KindEndpoints, parseCluster(c).endpoints()))
			if declared(port) == Undeclared {
				out = append(out, want(MeshScope, KindCluster, m.asCalled(q, c)))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
