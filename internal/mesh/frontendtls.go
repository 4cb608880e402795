package mesh

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// frontendTLS is what a Gateway asks of the clients of its HTTPS listeners on a port, and where it
// says so; nil: nothing.
func frontendTLS(gw *gwv1.Gateway, port gwv1.PortNumber) (v *gwv1.FrontendTLSValidation, field string) {
	if gw.Spec.TLS == nil || gw.Spec.TLS.Frontend == nil {
		return nil, ""
	}
	for i, p := range gw.Spec.TLS.Frontend.PerPort {
		if p.Port == port {
			return p.TLS.Validation, fmt.Sprintf("spec.tls.frontend.perPort[%d].tls.validation", i)
		}
	}
	return gw.Spec.TLS.Frontend.Default.Validation, "spec.tls.frontend.default.validation"
}

// clients are how the clients of an HTTPS listener prove who they are; nil: they need not. refs is what
// is wrong with the references to the authorities, none what is wrong when no authority is left.
func (m *Mesh) clients(q *incr.Query, gw *gwv1.Gateway, l *gwv1.Listener) (clients *ClientTLS, refs, none Verdict) {
	v, field := frontendTLS(gw, l.Port)
	if v == nil {
		return nil, Verdict{}, Verdict{}
	}
	clients = &ClientTLS{Required: v.Mode != gwv1.AllowInsecureFallback}
	var problems []Verdict
	for i, ref := range v.CACertificateRefs {
		pem, problem := m.clientAuthorities(q, gw, ref, fmt.Sprintf("listener %s: %s.caCertificateRefs[%d]", l.Name, field, i))
		clients.Authorities = append(clients.Authorities, pem...)
		problems = append(problems, problem)
	}
	if refs = join(problems); len(clients.Authorities) == 0 {
		none = wrong(gwv1.ListenerReasonNoValidCACertificate, "Nobody gets in, for there is no authority to know a client by: %s", refs.Message)
	}
	return clients, refs, none
}

// clientAuthorities are those that one reference of a Gateway names.
func (m *Mesh) clientAuthorities(q *incr.Query, gw *gwv1.Gateway, ref gwv1.ObjectReference, field string) ([]byte, Verdict) {
	kind, namespace := string(ref.Kind), gw.Namespace
	if ref.Group != "" || kind != kindConfigMap && kind != kindSecret {
		return nil, wrong(gwv1.ListenerReasonInvalidCACertificateKind, "%s names a %s of group %q: only a ConfigMap or a Secret of the core group is read", field, kind, ref.Group)
	}
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	if namespace != gw.Namespace && !m.granted(q, "Gateway", gw.Namespace, kind, namespace, string(ref.Name)) {
		return nil, m.notGranted(q, reference{"Gateway", gw.Namespace, kind, namespace, string(ref.Name)}, field)
	}
	found := m.authorities.Get(q, authoritiesIn(kind, key(namespace, string(ref.Name))))
	if found.Problem != "" {
		return nil, wrong(gwv1.ListenerReasonInvalidCACertificateRef, "%s: %s", field, found.Problem)
	}
	return found.PEM, Verdict{}
}

// insecure is the condition of a Gateway that lets clients in whatever they show; nil of any other.
func insecure(gw *gwv1.Gateway) *metav1.Condition {
	if gw.Spec.TLS == nil || gw.Spec.TLS.Frontend == nil {
		return nil
	}
	var fields []string
	add := func(v *gwv1.FrontendTLSValidation, field string) {
		if v != nil && v.Mode == gwv1.AllowInsecureFallback {
			fields = append(fields, field+".validation.mode")
		}
	}
	add(gw.Spec.TLS.Frontend.Default.Validation, "spec.tls.frontend.default")
	for i, p := range gw.Spec.TLS.Frontend.PerPort {
		add(p.TLS.Validation, fmt.Sprintf("spec.tls.frontend.perPort[%d].tls", i))
	}
	if len(fields) == 0 {
		return nil
	}
	c := holds(gwv1.GatewayConditionInsecureFrontendValidationMode, gw.Generation, Verdict{}, gwv1.GatewayReasonConfigurationChanged,
		fmt.Sprintf("By %s clients get in without a certificate, or with one that no authority vouches for: set it to AllowValidOnly to turn them away.", strings.Join(fields, " and ")))
	return &c
}
