package mesh

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// backend resolves a reference to a Service port into the name of its cluster.
func (m *Mesh) backend(q *incr.Query, r referrer, ref gwv1.BackendObjectReference, field string) (string, Verdict) {
	if (ref.Group != nil && *ref.Group != "") || (ref.Kind != nil && *ref.Kind != "Service") {
		return "", wrong(gwv1.RouteReasonInvalidKind, "%s: only a Service of the core group can be named", field)
	}
	namespace := r.Namespace
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	if namespace != r.Namespace && !r.Open && !m.granted(q, r.Kind, r.Namespace, "Service", namespace, string(ref.Name)) {
		return "", m.notGranted(q, reference{r.Kind, r.Namespace, "Service", namespace, string(ref.Name)}, field)
	}
	if ref.Port == nil {
		return "", wrong(gwv1.RouteReasonUnsupportedProtocol, "%s.port is missing: name a port of Service %s/%s", field, namespace, ref.Name)
	}
	k, port := key(namespace, string(ref.Name)), int32(*ref.Port)
	if r.bytes != nil {
		return m.bytePort(q, r, k, port, field)
	}
	return m.servicePort(q, r, k, port, field)
}

// bytePort checks that a Service has the port and that bytes can be passed to it, and tells its cluster.
func (m *Mesh) bytePort(q *incr.Query, r referrer, k string, port int32, field string) (string, Verdict) {
	at, over := clusterAt{service: k, port: port, protocol: TCP}, corev1.ProtocolTCP
	if r.Kind == UDPRoute {
		at.protocol, over = UDP, corev1.ProtocolUDP
	}
	p, bad := m.backendPort(q, k, port, over, field)
	if bad.OK() && transport(p) != over {
		bad = wrong(gwv1.RouteReasonUnsupportedProtocol, "%s.port: port %d of Service %s has protocol %s: name one of protocol %s, which is what a %s passes on", field, port, k, transport(p), over, r.Kind)
	}
	return at.name(), bad
}

// servicePort checks that a Service has the port and that a proxy may send requests to it, and tells
// its cluster. What speaks TLS by itself is spoken to by Gateways alone, where a BackendTLSPolicy says
// how.
func (m *Mesh) servicePort(q *incr.Query, r referrer, k string, port int32, field string) (string, Verdict) {
	p, bad := m.backendPort(q, k, port, corev1.ProtocolTCP, field)
	if !bad.OK() {
		return "", bad
	}
	at := clusterAt{service: k, port: port, backendTLS: !r.Open && m.backendPolicy(q, k, p) != nil}
	protocol, ok := protocolOf(p)
	if !ok && !(at.backendTLS && overTCP(p)) {
		return "", m.unspeakable(q, p, k, field)
	}
	if r.HTTP2 && protocol != HTTP2 {
		at.protocol = HTTP2
	}
	return at.name(), Verdict{}
}

// unspeakable says why requests cannot be sent to a Service's port.
func (m *Mesh) unspeakable(q *incr.Query, p corev1.ServicePort, service, field string) Verdict {
	const reason = gwv1.RouteReasonUnsupportedProtocol
	if !overTCP(p) {
		return wrong(reason, "%s.port: port %d of Service %s has protocol %s, which carries no requests: name a port of protocol TCP", field, p.Port, service, p.Protocol)
	}
	remedy := "add one, or a port that speaks HTTP"
	if others := m.backendPoliciesOn.Get(q, service); len(others) > 0 {
		remedy = fmt.Sprintf("BackendTLSPolicy %s is about another port: correct its sectionName, which is the name of a port", others[0])
	}
	return wrong(reason, "%s.port: port %d of Service %s has appProtocol %q, which only a Gateway speaks, and only by a BackendTLSPolicy: %s", field, p.Port, service, *p.AppProtocol, remedy)
}

// backendPort checks that a Service has the port and that a proxy may connect to it. It is the one of
// protocol over or, where there is none, of another.
func (m *Mesh) backendPort(q *incr.Query, k string, port int32, over corev1.Protocol, field string) (none corev1.ServicePort, bad Verdict) {
	svc, ok := m.Services.Get(q, k)
	if !ok {
		return none, wrong(gwv1.RouteReasonBackendNotFound, "%s: Service %s does not exist: create it, or name another", field, k)
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return none, wrong(gwv1.RouteReasonInvalidKind, "%s: Service %s is of type ExternalName, which a route may not name (CVE-2021-25740): name a Service with endpoints", field, k)
	}
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port && transport(p) == over })
	if i < 0 {
		i = slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port })
	}
	if i < 0 {
		return none, wrong(gwv1.RouteReasonBackendNotFound, "%s.port: Service %s has no port %d: %s", field, k, port, otherPort(svc, port))
	}
	return svc.Spec.Ports[i], Verdict{}
}

// otherPort says which port of a Service to name instead of one that it has not: a pod's port is often
// taken for the Service's.
func otherPort(svc *corev1.Service, port int32) string {
	var all []string
	for _, p := range svc.Spec.Ports {
		if p.TargetPort.IntValue() == int(port) {
			return fmt.Sprintf("that is the targetPort of its port %d, which is the one to name", p.Port)
		}
		all = append(all, fmt.Sprint(p.Port))
	}
	if len(all) == 0 {
		return "it has none at all"
	}
	return "name one of " + strings.Join(all, ", ")
}

// routable says whether a Service port carries requests that a route could tell apart.
func routable(p corev1.ServicePort) bool {
	protocol := declared(p)
	return overTCP(p) && (protocol.HTTP() || protocol == Undeclared)
}

// protocolOf is what a route of HTTP speaks to a Service port; false: it cannot, in plaintext.
func protocolOf(p corev1.ServicePort) (Protocol, bool) {
	if !overTCP(p) {
		return "", false
	}
	switch protocol := declared(p); {
	case protocol.HTTP():
		return protocol, true
	case protocol == TLS && p.AppProtocol != nil:
		return "", false
	}
	return HTTP1, true
}

// Cluster is a cluster by its name, as it is for Gateways that show a certificate to apps; "": the
// ordinary one.
func (m *Mesh) Cluster(q *incr.Query, name, certificate string) Cluster {
	at := parseCluster(name)
	out := Cluster{Name: name, Endpoints: at.endpoints(), Protocol: m.spoken(q, at), OwnRetries: at.ownRetries || at.mirror, Mirror: at.mirror}
	if out.Protocol != TCP && out.Protocol != TLS {
		out.Retries = m.retryBudget(q, at.service)
	}
	if at.backendTLS {
		out.TLS = &BackendTLS{}
	}
	svc, port, ok := m.portOf(q, at.service, at.port)
	if ok {
		out.Policies = m.upstreamPolicies(q, at, port)
	}
	if !ok || at.protocol == TLS { // to which no identity is shown, and that asks for none
		return out
	}
	if at.backendTLS {
		out.TLS = m.backendTLS(q, at.service, port)
		out.TLS.Certificate = certificate
		return out
	}
	out.Peers = peersOf(m.addressesOf(q, svc, port.Name).all())
	return out
}

// spoken is the protocol that a cluster speaks.
func (m *Mesh) spoken(q *incr.Query, at clusterAt) Protocol {
	if at.protocol != "" {
		return at.protocol
	}
	if _, port, ok := m.portOf(q, at.service, at.port); ok {
		if protocol, ok := protocolOf(port); ok {
			return protocol
		}
	}
	return HTTP1
}

func peersOf(endpoints []Endpoint) Peers {
	out := Peers{All: len(endpoints) > 0}
	for _, e := range endpoints {
		if e.Identity == "" {
			out.All = false
		} else {
			out.Identities = append(out.Identities, e.Identity)
		}
	}
	slices.Sort(out.Identities)
	out.Identities = slices.Compact(out.Identities)
	return out
}

// portOf is a port of a Service, of protocol TCP.
func (m *Mesh) portOf(q *incr.Query, service string, port int32) (*corev1.Service, corev1.ServicePort, bool) {
	return m.portOver(q, service, port, corev1.ProtocolTCP)
}

// portOver is a port of a Service, of some protocol.
func (m *Mesh) portOver(q *incr.Query, service string, port int32, over corev1.Protocol) (*corev1.Service, corev1.ServicePort, bool) {
	svc, ok := m.Services.Get(q, service)
	if !ok {
		return nil, corev1.ServicePort{}, false
	}
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port && transport(p) == over })
	if i < 0 {
		return nil, corev1.ServicePort{}, false
	}
	return svc, svc.Spec.Ports[i], true
}
