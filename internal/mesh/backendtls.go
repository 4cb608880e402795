package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// authoritiesKey is that of a ConfigMap under which Gateway API has authorities, and cert-manager
// those of a Secret.
const authoritiesKey = "ca.crt"

// What authorities are read from.
const (
	kindConfigMap = "ConfigMap"
	kindSecret    = "Secret"
)

// authorities are those of a ConfigMap or a Secret.
type authorities struct {
	PEM     []byte // each certificate once more, and nothing else
	Problem string // why there are none
}

// aboutService says whether a policy's target is a Service, the one kind that can have a
// BackendTLSPolicy or an XBackendTrafficPolicy.
func aboutService(t gwv1.LocalPolicyTargetReference) bool {
	return t.Group == "" && t.Kind == "Service"
}

// section is the name of the port that a target is about; empty: all of its Service.
func section(t gwv1.LocalPolicyTargetReferenceWithSectionName) string {
	return string(*cmp.Or(t.SectionName, new(gwv1.SectionName)))
}

// backendServices are the keys of the Services that a policy is about.
func backendServices(p *gwv1.BackendTLSPolicy) (out []string) {
	for _, t := range p.Spec.TargetRefs {
		if k := key(p.Namespace, string(t.Name)); aboutService(t.LocalPolicyTargetReference) && !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// backendPolicy is the policy that holds for a port of a Service: one about the port rather than one
// about the whole; nil: none. One that is wrong holds too, for else its backends would get plaintext.
func (m *Mesh) backendPolicy(q *incr.Query, service string, port corev1.ServicePort) *gwv1.BackendTLSPolicy {
	if port.Name != "" {
		if p := m.backendPolicyOf(q, service, port.Name); p != nil {
			return p
		}
	}
	return m.backendPolicyOf(q, service, "")
}

// backendPolicyOf is the policy that holds of those about one section of a Service: the oldest, then the
// first by name.
func (m *Mesh) backendPolicyOf(q *incr.Query, service, of string) (holds *gwv1.BackendTLSPolicy) {
	for _, k := range m.backendPoliciesOn.Get(q, service) {
		p, ok := m.BackendTLSPolicies.Get(q, k)
		if !ok || !slices.ContainsFunc(p.Spec.TargetRefs, func(t gwv1.LocalPolicyTargetReferenceWithSectionName) bool {
			return aboutService(t.LocalPolicyTargetReference) && key(p.Namespace, string(t.Name)) == service && section(t) == of
		}) {
			continue
		}
		holds = elder(holds, p)
	}
	return holds
}

// elder is which of two policies about the same thing holds: the older, and of one age the first by name,
// for their keys come in order.
func elder[T any, P interface {
	*T
	metav1.Object
}](holds, p P) P {
	if holds == nil {
		return p
	}
	if made, since := p.GetCreationTimestamp(), holds.GetCreationTimestamp(); made.Before(&since) {
		return p
	}
	return holds
}

// backendTLS is what the policy that holds for a port of a Service says.
func (m *Mesh) backendTLS(q *incr.Query, service string, port corev1.ServicePort) *BackendTLS {
	p := m.backendPolicy(q, service, port)
	if p == nil {
		return &BackendTLS{}
	}
	v := p.Spec.Validation
	out := &BackendTLS{SNI: string(v.Hostname), Names: v.SubjectAltNames}
	if len(out.Names) == 0 {
		out.Names = []gwv1.SubjectAltName{{Type: gwv1.HostnameSubjectAltNameType, Hostname: gwv1.Hostname(v.Hostname)}}
	}
	out.Authorities, _, _ = m.trusted(q, p)
	return out
}

// trusted are the authorities that a policy trusts, what is wrong with its references to them, and
// what is wrong when there are none.
func (m *Mesh) trusted(q *incr.Query, p *gwv1.BackendTLSPolicy) (all []byte, refs, none Verdict) {
	v := p.Spec.Validation
	if len(v.CACertificateRefs) == 0 {
		return nil, Verdict{}, wrong(gwv1.PolicyReasonInvalid, "spec.validation.wellKnownCACertificates: %q is not supported, for the image that a Gateway's proxies run need not have any: put the authorities into a ConfigMap under %q, and name it in spec.validation.caCertificateRefs", *cmp.Or(v.WellKnownCACertificates, new(gwv1.WellKnownCACertificatesType)), authoritiesKey)
	}
	var problems []Verdict
	for i, ref := range v.CACertificateRefs {
		field := fmt.Sprintf("spec.validation.caCertificateRefs[%d]", i)
		if ref.Group != "" || ref.Kind != kindConfigMap {
			problems = append(problems, wrong(gwv1.BackendTLSPolicyReasonInvalidKind, "%s names a %s of group %q: only a ConfigMap of the core group is read", field, ref.Kind, ref.Group))
			continue
		}
		found := m.authorities.Get(q, authoritiesIn(kindConfigMap, key(p.Namespace, string(ref.Name))))
		if found.Problem != "" {
			problems = append(problems, wrong(gwv1.BackendTLSPolicyReasonInvalidCACertificateRef, "%s: %s", field, found.Problem))
		}
		all = append(all, found.PEM...)
	}
	if refs = join(problems); len(all) == 0 {
		none = wrong(gwv1.BackendTLSPolicyReasonNoValidCACertificate, "There is no authority to trust, so no request is sent: %s", refs.Message)
	}
	return all, refs, none
}

// authoritiesIn names what holds authorities.
func authoritiesIn(kind, k string) string { return kind + " " + k }

// readAuthorities reads those of a ConfigMap or a Secret, by authoritiesIn. They are written anew, for
// Envoy would refuse what else a file may hold.
func (m *Mesh) readAuthorities(q *incr.Query, in string) authorities {
	text, problem := m.authoritiesText(q, in)
	if problem != "" {
		return authorities{Problem: problem}
	}
	certificates, problem := room.Authorities(text)
	if problem != "" {
		return authorities{Problem: fmt.Sprintf("%s: data[%q] holds %s", in, authoritiesKey, problem)}
	}
	return authorities{PEM: certificates}
}

// authoritiesText is what a ConfigMap or a Secret has under the authoritiesKey. Of Secrets only those
// of type kubernetes.io/tls are watched.
func (m *Mesh) authoritiesText(q *incr.Query, in string) (text []byte, problem string) {
	kind, k, _ := strings.Cut(in, " ")
	var has bool
	if kind == kindSecret {
		s, ok := m.Secrets.Get(q, k)
		if !ok || s.Type != corev1.SecretTypeTLS {
			return nil, fmt.Sprintf("there is no Secret %s of type %q: create it, or name a ConfigMap", k, corev1.SecretTypeTLS)
		}
		text, has = s.Data[authoritiesKey]
	} else {
		cm, ok := m.ConfigMaps.Get(q, k)
		if !ok {
			return nil, fmt.Sprintf("ConfigMap %s does not exist: create it, or name another", k)
		}
		var data string
		data, has = cm.Data[authoritiesKey]
		text = []byte(data)
	}
	if !has {
		return nil, fmt.Sprintf("%s has no data[%q]: put the authorities there, in PEM", in, authoritiesKey)
	}
	return text, ""
}
