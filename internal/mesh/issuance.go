package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// IssuerAnnotation on a Gateway has Weft obtain the certificates of its listeners from a
// cert-manager issuer: "<name>" of an Issuer in the Gateway's namespace, "Issuer/<name>" or
// "ClusterIssuer/<name>".
const IssuerAnnotation = "mesh.weft.dev/issuer"

// Issuer names a cert-manager issuer.
type Issuer struct{ Kind, Name string }

// Certificate is a cert-manager Certificate that Weft wants to exist.
type Certificate struct {
	Namespace, Name string // of the Certificate and of its Secret
	Gateway         *gwv1.Gateway
	Issuer          Issuer
	DNSNames        []string
}

// ParseIssuer reads the value of an IssuerAnnotation. The error says what is expected.
func ParseIssuer(s string) (Issuer, error) {
	kind, name, two := strings.Cut(s, "/")
	if !two {
		kind, name = "Issuer", s
	}
	if (kind != "Issuer" && kind != "ClusterIssuer") || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return Issuer{}, fmt.Errorf("annotation %s: %q names no issuer: write <name>, Issuer/<name> or ClusterIssuer/<name>", IssuerAnnotation, s)
	}
	return Issuer{kind, name}, nil
}

// conditionCertificates says whether Weft obtains the certificates of a Gateway that asks for it.
const conditionCertificates = "mesh.weft.dev/CertificatesRequested"

// issuance is the condition of a Gateway that carries the IssuerAnnotation; nil without one.
func issuance(g gateway) *metav1.Condition {
	if g.Annotations[IssuerAnnotation] == "" {
		return nil
	}
	_, problem := wantedCertificates(g)
	c := holds(conditionCertificates, g.Generation, problem, "Requested", "cert-manager was asked for the listeners' certificates.")
	return &c
}

// Certificates are those that a Gateway's annotation asks for, one for each Secret of its own
// namespace that its listeners name.
func (m *Mesh) Certificates(q *incr.Query, k string) []Certificate {
	g := m.gateways.Get(q, k)
	if g.Gateway == nil || g.Annotations[IssuerAnnotation] == "" {
		return nil
	}
	certs, _ := wantedCertificates(g)
	return certs
}

func wantedCertificates(g gateway) ([]Certificate, Verdict) {
	for _, name := range slices.Sorted(maps.Keys(g.Annotations)) {
		if strings.HasPrefix(name, "cert-manager.io/") {
			return nil, wrong("ConflictingAnnotations", "metadata.annotations: %s and %s are both set: cert-manager acts on its own, Weft does not: remove one of them", IssuerAnnotation, name)
		}
	}
	issuer, err := ParseIssuer(g.Annotations[IssuerAnnotation])
	if err != nil {
		return nil, wrong("InvalidIssuer", "metadata.annotations: %s", err.Error())
	}
	names := map[string][]string{}
	for _, l := range g.Listeners {
		if !l.ends() || l.host() == "" || l.TLS == nil {
			continue
		}
		for _, ref := range l.TLS.CertificateRefs {
			if ref.Namespace == nil || string(*ref.Namespace) == g.Namespace {
				names[string(ref.Name)] = append(names[string(ref.Name)], l.host())
			}
		}
	}
	if len(names) == 0 {
		return nil, wrong("NoHostname", "metadata.annotations: %s needs an HTTPS listener with a hostname and a certificateRef of the Gateway's own namespace", IssuerAnnotation)
	}
	var out []Certificate
	for name, hosts := range names {
		slices.Sort(hosts)
		out = append(out, Certificate{g.Namespace, name, g.Gateway, issuer, slices.Compact(hosts)})
	}
	slices.SortFunc(out, func(a, b Certificate) int { return strings.Compare(a.Name, b.Name) })
	return out, Verdict{}
}
