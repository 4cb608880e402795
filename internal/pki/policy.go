package pki

import (
	"fmt"
	"slices"
	"strings"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
)

// Names of the policies, and of their bindings: of cert-manager's kinds, and of
// CertificateSigningRequests, which cert-manager signs too if it is told to.
const (
	PolicyName         = "weft-mesh-issuer"
	RequestsPolicyName = "weft-mesh-issuer-signing-requests"
)

// Protected are the issuers that only Weft may use: the one that the Mesh names and, while a root
// changes, the one before.
func Protected(s Settings, state State) []Issuer {
	all := []Issuer{s.Issuer}
	for _, i := range []Issuer{state.Target, state.Issuer} {
		if state.Phase != Waiting && !slices.Contains(all, i) {
			all = append(all, i)
		}
	}
	return all
}

// Policies refuse, in every namespace, Certificates and requests that name one of the issuers, unless
// Weft or cert-manager makes them: whoever may have a certificate of the mesh's issuer could be any
// workload. cert-manager is let through only in weft-system, where all of Weft's Certificates are.
func Policies(issuers []Issuer, certManager string) []*admissionv1.ValidatingAdmissionPolicy {
	return []*admissionv1.ValidatingAdmissionPolicy{certificatesPolicy(issuers, certManager), signingPolicy(issuers)}
}

const remedy = "only Weft may ask the mesh's issuer for certificates: name another issuer in spec.issuerRef, or another one for the mesh in spec.identity.issuerRef of the Mesh"

func certificatesPolicy(issuers []Issuer, certManager string) *admissionv1.ValidatingAdmissionPolicy {
	var names []string
	for _, i := range issuers {
		names = append(names, policyName(i))
	}
	policy := newPolicy(PolicyName, cmv1.SchemeGroupVersion.Group, "certificates", "certificaterequests")
	policy.Spec.MatchConditions = []admissionv1.MatchCondition{{Name: "mesh-issuer", Expression: issuerNamed + " in [" + quoted(names) + "]"}}
	policy.Spec.Validations = []admissionv1.Validation{{
		Expression: fmt.Sprintf(`request.userInfo.username == %q
|| request.operation == 'UPDATE' && object.spec == oldObject.spec
|| request.resource.resource == 'certificaterequests' && request.namespace == %q && request.userInfo.username == %q`,
			serviceAccountUser(v1alpha1.SystemNamespace, "weft-operator"), v1alpha1.SystemNamespace, certManager),
		Message: remedy,
		Reason:  new(metav1.StatusReasonForbidden),
	}}
	return policy
}

// issuerNamed is what policyName makes of an object's issuerRef. An Issuer is one of the object's own
// namespace. An external issuer may be too, but nothing here can know.
const issuerNamed = `[object.spec.issuerRef].map(r, [
  has(r.group) && r.group != '' ? r.group : 'cert-manager.io',
  has(r.kind) && r.kind != '' ? r.kind : 'Issuer',
  r.name]).map(r, r[0] == 'cert-manager.io' && r[1] == 'Issuer' ? r + [request.namespace] : r)[0].join('/')`

func policyName(i Issuer) string {
	parts := []string{i.Group, i.Kind, i.Name}
	if i.Group == cmv1.SchemeGroupVersion.Group && i.Kind == cmv1.IssuerKind {
		parts = append(parts, v1alpha1.SystemNamespace)
	}
	return strings.Join(parts, "/")
}

// signingPolicy concerns requests to the signers by whose names cert-manager takes them.
func signingPolicy(issuers []Issuer) *admissionv1.ValidatingAdmissionPolicy {
	var names []string
	for _, i := range issuers {
		name := strings.ToLower(i.Kind) + "s." + i.Group + "/"
		if i.Kind == cmv1.IssuerKind {
			name += v1alpha1.SystemNamespace + "."
		}
		names = append(names, name+i.Name)
	}
	policy := newPolicy(RequestsPolicyName, "certificates.k8s.io", "certificatesigningrequests")
	policy.Spec.Validations = []admissionv1.Validation{{
		Expression: "request.operation == 'UPDATE' || !(object.spec.signerName in [" + quoted(names) + "])", // the spec cannot be updated
		Message:    remedy,
		Reason:     new(metav1.StatusReasonForbidden),
	}}
	return policy
}

func quoted(names []string) string {
	var all []string
	for _, n := range names {
		all = append(all, fmt.Sprintf("%q", n))
	}
	return strings.Join(all, ", ")
}

func newPolicy(name, group string, resources ...string) *admissionv1.ValidatingAdmissionPolicy {
	return &admissionv1.ValidatingAdmissionPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "ValidatingAdmissionPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{gateway.ManagedByLabel: gateway.ManagedBy}},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: new(admissionv1.Fail),
			MatchConstraints: &admissionv1.MatchResources{
				MatchPolicy: new(admissionv1.Equivalent),
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: resources},
				}}},
			},
		},
	}
}

// Binding puts a policy in force.
func Binding(policy string) *admissionv1.ValidatingAdmissionPolicyBinding {
	return &admissionv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "ValidatingAdmissionPolicyBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: policy, Labels: map[string]string{gateway.ManagedByLabel: gateway.ManagedBy}},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: policy, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
}
