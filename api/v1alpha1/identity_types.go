package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Issuance is how the certificates of workloads come into being.
//
// +kubebuilder:validation:Enum=Certificates;Intermediate
type Issuance string

// The ways of issuance. Certificates is the default.
const (
	IssuanceCertificates Issuance = "Certificates"
	IssuanceIntermediate Issuance = "Intermediate"
)

// Identity says who signs the certificates by which workloads know each other, and for how long.
// Each ServiceAccount that has pods in the mesh gets a certificate with exactly one name, the SPIFFE
// ID spiffe://<trustDomain>/ns/<namespace>/sa/<name>. A change of any field restarts no pod and
// fails no request.
//
// +kubebuilder:validation:XValidation:rule="!has(self.renewBefore) || duration(self.renewBefore) < duration(has(self.lifetime) ? self.lifetime : '24h')",message="must be shorter than lifetime",fieldPath=".renewBefore"
// +kubebuilder:validation:XValidation:rule="!has(self.issuerRef) || !has(self.authorityRevision)",message="has no meaning where issuerRef names the authority: remove one of the two",fieldPath=".authorityRevision"
type Identity struct {
	// issuerRef names the cert-manager issuer that signs workloads' certificates. It should sign for
	// nothing else: a policy refuses every Certificate and CertificateRequest that names it, except
	// Weft's. It must publish its authority (the key ca.crt of the Secrets it fills), or end its
	// chains with it.
	//
	// When unset, Weft makes an authority of its own through cert-manager, in the namespace
	// weft-system. It is not the one that signs for Weft's own servers.
	//
	// A change of issuer is a change of root: the new root is distributed, every proxy acknowledges
	// it, issuance switches, and the old root is withdrawn. status.identity shows how far it has come.
	//
	// +optional
	IssuerRef *IssuerReference `json:"issuerRef,omitempty"`

	// authorityRevision counts the authorities that Weft makes where issuerRef is unset. 1 when unset.
	// Raise it to replace the authority and its key: the root changes as with another issuer.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	AuthorityRevision int32 `json:"authorityRevision,omitempty"`

	// issuance is Certificates, the default, or Intermediate.
	// Certificates: one cert-manager Certificate in weft-system for each ServiceAccount.
	// Intermediate: one Certificate, of an intermediate authority; the operator signs the
	// certificates of workloads with it, in memory. For issuers that allow signing by others, where
	// thousands of CertificateRequests would be too slow.
	//
	// +optional
	Issuance Issuance `json:"issuance,omitempty"`

	// lifetime of a workload's certificate. 24h when unset; from 1h to 8760h. An issuer may grant less.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h') && duration(self) <= duration('8760h')",message="must be from 1h to 8760h"
	Lifetime *metav1.Duration `json:"lifetime,omitempty"`

	// renewBefore is how long before its end a certificate is renewed. A third of the lifetime when
	// unset, which renews it at two thirds; at least 5m.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5m')",message="must be 5m or more"
	RenewBefore *metav1.Duration `json:"renewBefore,omitempty"`

	// connectionAge bounds the age of an mTLS connection of HTTP between proxies; it is then drained and
	// made anew. A connection is verified when it is made and not again, so a certificate or root that is
	// withdrawn is of use for this long still. Raw TCP is not bounded in age: such connections are closed
	// once, when a change of root is over. 1h when unset; from 1m to 24h.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('24h')",message="must be from 1m to 24h"
	ConnectionAge *metav1.Duration `json:"connectionAge,omitempty"`

	// certManager says which ServiceAccount cert-manager's controller runs as: beside Weft, it alone
	// may make CertificateRequests that name the mesh's issuer.
	//
	// +optional
	CertManager *ServiceAccountReference `json:"certManager,omitempty"`
}

// ServiceAccountReference names the ServiceAccount of cert-manager's controller.
type ServiceAccountReference struct {
	// namespace of the ServiceAccount. cert-manager when unset.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`

	// name of the ServiceAccount. cert-manager when unset.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
}

// IdentityStatus is what holds of workloads' identities.
type IdentityStatus struct {
	// phase of the change of root:
	// Waiting: no issuer has signed yet.
	// Steady: there is no change under way.
	// Distributing: a new root was added, and proxies are acknowledging it.
	// Switching: certificates are being issued anew, and proxies are acknowledging them.
	// Retiring: the old root was withdrawn, and proxies are acknowledging that.
	//
	// +required
	// +kubebuilder:validation:Enum=Waiting;Steady;Distributing;Switching;Retiring
	Phase string `json:"phase"`

	// issuer that certificates are asked of, as kind/name, or kind.group/name of an external one.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=768
	Issuer string `json:"issuer,omitempty"`

	// rootsTrusted are the authorities that proxies trust, each by the first 16 hexadecimal digits of
	// its SHA-256. At most 16 are listed.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=64
	RootsTrusted []string `json:"rootsTrusted,omitempty"`

	// accounts is the number of ServiceAccounts that are to have an identity.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Accounts int32 `json:"accounts"`

	// waitingFor names what the phase waits for: proxies, by the namespace and name of their pod, and
	// ServiceAccounts. At most 32 are listed.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=512
	WaitingFor []string `json:"waitingFor,omitempty"`

	// problems are ServiceAccounts without a certificate that can be used, and why. Proxies that have
	// an earlier one keep it. At most 32 are listed.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Problems []IdentityProblem `json:"problems,omitempty"`
}

// IdentityProblem says why a ServiceAccount has no certificate.
type IdentityProblem struct {
	// serviceAccount is its namespace and name, separated by a slash; empty if it is every one.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	ServiceAccount string `json:"serviceAccount,omitempty"`

	// message says what is wrong, and the remedy.
	//
	// +required
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message"`
}
