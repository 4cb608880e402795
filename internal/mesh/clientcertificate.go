package mesh

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// clientCertificate is the name of the Secret with the certificate that a Gateway shows to backends that
// end TLS by themselves; "": it shows none.
func (m *Mesh) clientCertificate(q *incr.Query, gw *gwv1.Gateway) (string, Verdict) {
	ref := clientCertificateRef(gw)
	if ref == nil {
		return "", Verdict{}
	}
	name, problem := m.certificate(q, owner{"Gateway", gw.Namespace, gw.Name}, *ref, "spec.tls.backend.clientCertificateRef", string(gwv1.GatewayReasonInvalidClientCertificateRef))
	if name == "" {
		problem.Message += ": backends are shown no certificate"
	}
	return name, problem
}

func clientCertificateRef(gw *gwv1.Gateway) *gwv1.SecretObjectReference {
	if gw.Spec.TLS == nil || gw.Spec.TLS.Backend == nil {
		return nil
	}
	return gw.Spec.TLS.Backend.ClientCertificateRef
}

// resolvedRefs is the condition of a Gateway that has a reference to a certificate for backends, and tells of
// its listeners' references too; nil of any other, whose listeners tell of theirs.
func resolvedRefs(g gateway) *metav1.Condition {
	if clientCertificateRef(g.Gateway) == nil {
		return nil
	}
	var broken []Verdict
	for _, l := range g.Listeners {
		broken = append(broken, l.Broken)
	}
	c := holds(gwv1.GatewayConditionResolvedRefs, g.Generation, first(g.Broken, join(broken).as(gwv1.GatewayReasonListenersNotResolved)),
		gwv1.GatewayReasonResolvedRefs, "All references were resolved.")
	return &c
}
