package mesh

import (
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
		return "", wrong(gwv1.RouteReasonRefNotPermitted, "%s: no ReferenceGrant in namespace %s lets %ss of %s use Service %s", field, namespace, r.Kind, r.Namespace, ref.Name)
	}
	if ref.Port == nil {
		return "", wrong(gwv1.RouteReasonUnsupportedProtocol, "%s.port is missing: name a port of Service %s/%s", field, namespace, ref.Name)
	}
	name, protocol, bad := m.servicePort(q, key(namespace, string(ref.Name)), int32(*ref.Port), field)
	if r.Kind == GRPCRoute && protocol != HTTP2 {
		name = OverHTTP2(name)
	}
	return name, bad
}

// servicePort checks that a Service has the port and that a proxy may send to it, and tells its
// cluster and what that speaks.
func (m *Mesh) servicePort(q *incr.Query, k string, port int32, field string) (string, Protocol, Verdict) {
	svc, ok := m.Services.Get(q, k)
	if !ok {
		return "", "", wrong(gwv1.RouteReasonBackendNotFound, "%s: Service %s does not exist", field, k)
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return "", "", wrong(gwv1.RouteReasonInvalidKind, "%s: Service %s is of type ExternalName, which a route may not name (CVE-2021-25740): name a Service with endpoints", field, k)
	}
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port })
	if i < 0 {
		return "", "", wrong(gwv1.RouteReasonBackendNotFound, "%s.port: Service %s has no port %d", field, k, port)
	}
	protocol, ok := protocolOf(svc.Spec.Ports[i])
	if !ok {
		return "", "", wrong(gwv1.RouteReasonUnsupportedProtocol, "%s.port: port %d of Service %s has appProtocol %q, which cannot be spoken to", field, port, k, *svc.Spec.Ports[i].AppProtocol)
	}
	return clusterName(svc.Namespace, svc.Name, port), protocol, Verdict{}
}

// protocolOf is what a Service port speaks by its appProtocol (KEP-3726); false: nothing that a
// route of HTTP can be sent to in plaintext.
func protocolOf(p corev1.ServicePort) (Protocol, bool) {
	if p.Protocol == corev1.ProtocolUDP || p.Protocol == corev1.ProtocolSCTP {
		return "", false
	}
	if p.AppProtocol == nil {
		return HTTP1, true
	}
	switch *p.AppProtocol {
	case "kubernetes.io/h2c", "grpc", "http2":
		return HTTP2, true
	case "https", "kubernetes.io/wss", "tls":
		return "", false
	}
	return HTTP1, true
}

// Cluster is a cluster by its name.
func (m *Mesh) Cluster(q *incr.Query, name string) Cluster {
	k, port := parseCluster(name)
	out := Cluster{Name: name, Protocol: HTTP1, OwnRetries: strings.HasSuffix(name, ownRetries)}
	if svc, ok := m.Services.Get(q, k); ok {
		for _, p := range svc.Spec.Ports {
			if protocol, ok := protocolOf(p); ok && p.Port == port {
				out.Protocol = protocol
			}
		}
	}
	if strings.HasSuffix(strings.TrimSuffix(name, ownRetries), overHTTP2) {
		out.Protocol = HTTP2
	}
	return out
}
