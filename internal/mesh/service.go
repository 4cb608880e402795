package mesh

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// frontend are the ports of a Service that a parentRef selects and on which a route can act.
func (m *Mesh) frontend(q *incr.Query, kind string, a attached) ([]int32, Verdict) {
	const refused = gwv1.RouteReasonNoMatchingParent
	svc, ok := m.Services.Get(q, a.Service)
	switch {
	case !ok:
		return nil, wrong(refused, "%s: Service %s does not exist: create it, or name another", a.Field, a.Service)
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return nil, wrong(refused, "%s: Service %s is of type ExternalName, which has no address of its own by which its requests are known: name a Service with a cluster IP", a.Field, a.Service)
	case svc.Spec.ClusterIP == corev1.ClusterIPNone:
		return nil, wrong(refused, "%s: Service %s is headless: it has no address of its own by which its requests are known: name a Service with a cluster IP", a.Field, a.Service)
	}
	verdict := wrong(refused, "%s: Service %s has no port%s: it has %s", a.Field, a.Service, wanted(a.Ref, ""), portsOf(svc))
	var out []int32
	for _, p := range svc.Spec.Ports {
		if (a.Ref.SectionName != nil && string(*a.Ref.SectionName) != p.Name) || (a.Ref.Port != nil && *a.Ref.Port != p.Port) {
			continue
		}
		if bad := unreadableBy(kind, p, a); !bad.OK() {
			verdict = bad
			continue
		}
		out = append(out, p.Port)
	}
	if len(out) > 0 {
		return out, Verdict{}
	}
	return nil, verdict
}

// portsOf are a Service's ports as a parentRef can name them.
func portsOf(svc *corev1.Service) string {
	var out []string
	for _, p := range svc.Spec.Ports {
		out = append(out, strings.TrimPrefix(fmt.Sprintf("%s:%d", p.Name, p.Port), ":"))
	}
	return orNone(out)
}

// unreadableBy says why a route of a kind cannot act on a Service's port.
func unreadableBy(kind string, p corev1.ServicePort, a attached) Verdict {
	switch {
	case kind == TCPRoute && (!overTCP(p) || declared(p).HTTP()):
		return wrong(gwv1.RouteReasonUnsupportedProtocol, "%s: port %d of Service %s carries HTTP, or no TCP: see its protocol, appProtocol and name", a.Field, p.Port, a.Service)
	case kind != TCPRoute && !routable(p):
		return wrong(gwv1.RouteReasonUnsupportedProtocol, "%s: port %d of Service %s carries no HTTP that a proxy could read: see its protocol, appProtocol and name", a.Field, p.Port, a.Service)
	}
	return Verdict{}
}

// portKey is a port of a Service.
func portKey(service string, port int32) string { return fmt.Sprintf("%s:%d", service, port) }

// frontendKey is a port of a Service as the routes of a namespace have it: its producer's, or a
// consumer's.
func frontendKey(service string, port int32, namespace string) string {
	return portKey(service, port) + "|" + namespace
}

// namespaceOf is the namespace of a route by its routeKey.
func namespaceOf(k string) string { return strings.Split(k, "/")[1] }

// frontends are the Service ports that a route acts on.
func (m *Mesh) frontends(q *incr.Query, k string) []string {
	return m.frontendKeys(q, k, m.attached.Get(q, k))
}

// frontendKeys are the portKeys and frontendKeys of what a route was given; none if it is not served, unless
// it has requests checked: without it they would reach the Service.
func (m *Mesh) frontendKeys(q *incr.Query, k string, given []attached) []string {
	var out []string
	for _, a := range given {
		for _, port := range a.Ports {
			out = append(out, portKey(a.Service, port), frontendKey(a.Service, port, namespaceOf(k)))
		}
	}
	if len(out) == 0 {
		return nil
	}
	if r := m.serviceBound.Get(q, k); !r.Checked && (!r.Kept || !m.quarantined(q, k).OK()) {
		return nil
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// serviceRoutes are the routes, by routeKey, by which pods of namespace consumer reach a port of a
// Service: those of their own namespace, or where it has none, those of the Service's.
func (m *Mesh) serviceRoutes(q *incr.Query, service string, port int32, consumer string) []string {
	return nearest(q, m.frontedBy, service, port, consumer)
}

func nearest(q *incr.Query, routes *incr.View[string, string], service string, port int32, consumer string) []string {
	if own := routes.Get(q, frontendKey(service, port, consumer)); len(own) > 0 {
		return own
	}
	producer, _, _ := strings.Cut(service, "/")
	return routes.Get(q, frontendKey(service, port, producer))
}

// serviceRules are the rules of the routes whose parent is a port of a Service, as pods of namespace
// consumer see them, or of its TrafficSplit; false when there is neither, and requests go to the Service
// as they are.
func (m *Mesh) serviceRules(q *incr.Query, service string, port int32, consumer string) ([]Rule, bool) {
	var out []Rule
	ks := m.serviceRoutes(q, service, port, consumer)
	for _, k := range ks {
		out = append(out, m.servedRules(q, k, m.serviceBound.Get(q, k))...)
	}
	if len(ks) == 0 {
		out = m.divisionOf(q, service, port).HTTP
	}
	return out, len(ks)+len(out) > 0
}

// ServiceContributors are the routes, or the TrafficSplit, that a variant of a Service port's
// RouteConfiguration is made of, each with the generation that was used; none of any other
// RouteConfiguration.
func (m *Mesh) ServiceContributors(q *incr.Query, name, variant string) map[string]int64 {
	_, consumer := parseAt(variant)
	if !strings.HasPrefix(name, OutboundListener+"/") {
		return nil
	}
	at, out := parseServiceListener(name), map[string]int64{}
	from := m.serviceRoutes(q, at.service, at.port, consumer)
	if len(from) == 0 {
		from = []string{m.splitServing(q, at.service, at.port)}
	}
	for _, k := range from {
		if r, ok := m.route(q, k); ok && m.quarantined(q, k).OK() {
			out[k] = r.Generation
		}
	}
	return out
}

// RoutesScope is the scope that sees a variant of a Service port's RouteConfiguration.
func RoutesScope(variant string) string {
	at, consumer := parseAt(variant)
	if consumer == "" {
		return At(at, MeshScope)
	}
	return At(at, NamespaceScope(consumer))
}

// consumers are the namespaces with routes of their own, of some kinds, for a port of another namespace's
// Service, in order.
func consumers(q *incr.Query, routes *incr.View[string, string], service string, port int32) []string {
	producer, _, _ := strings.Cut(service, "/")
	var out []string
	for _, k := range routes.Get(q, portKey(service, port)) {
		if ns := namespaceOf(k); ns != producer {
			out = append(out, ns)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// serviceRouteWants are the clusters that a route, or a TrafficSplit, sends to by the Services that it is
// attached to: a producer's route has every sidecar see them, a consumer's those of its namespace.
func (m *Mesh) serviceRouteWants(q *incr.Query, k string) (out []string) {
	if strings.HasPrefix(k, TrafficSplit+"/") {
		return m.trafficSplitWants(q, k)
	}
	if len(m.frontends(q, k)) == 0 {
		return nil
	}
	rules := m.serviceBound.Get(q, k).Rules
	for _, a := range m.attached.Get(q, k) {
		if len(a.Ports) == 0 {
			continue
		}
		scope := NamespaceScope(namespaceOf(k))
		if strings.HasPrefix(a.Service, namespaceOf(k)+"/") {
			scope = MeshScope
		}
		governed := m.governedAt(q, rules, a)
		clusters := append(resolved{Rules: governed}.clusters(), resolved{Rules: m.overHTTP2(q, governed)}.clusters()...)
		for _, c := range clusters {
			out = append(out, want(scope, KindCluster, c), want(scope, KindEndpoints, parseCluster(c).endpoints()))
		}
		for _, c := range (resolved{Rules: governed}).asking() {
			out = append(out, want(scope, KindCluster, c))
		}
		out = append(out, m.sessionWants(q, scope, governed, true)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
