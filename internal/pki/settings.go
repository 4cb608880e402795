// Package pki says which certificates the mesh needs, which of those it has can be used, and how its
// roots change.
//
//	Mesh + ServiceAccounts → cert-manager Certificates wanted
//	Secrets + trusted roots → what a proxy is given, or what is wrong
//	state of the roots + what is observed → the next state
//
// It is pure: controllers/ reads the inputs and writes what is wanted, and tells the time.
package pki

import (
	"cmp"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Issuer names a cert-manager issuer: an Issuer is one of weft-system.
type Issuer struct {
	Group string `json:"group"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
}

// String is kind/name, or kind.group/name if the group is not cert-manager's own.
func (i Issuer) String() string {
	if i.Group == cmv1.SchemeGroupVersion.Group {
		return i.Kind + "/" + i.Name
	}
	return i.Kind + "." + i.Group + "/" + i.Name
}

func (i Issuer) reference() cmmeta.IssuerReference {
	return cmmeta.IssuerReference{Group: i.Group, Kind: i.Kind, Name: i.Name}
}

// Defaults of a Mesh.
const (
	TrustDomain     = "cluster.local"
	lifetime        = 24 * time.Hour
	connectionAge   = time.Hour
	certManagerName = "cert-manager" // of the ServiceAccount, and of its namespace
)

// Settings are what a Mesh says of identity, with the defaults filled in.
type Settings struct {
	TrustDomain   string
	Issuer        Issuer
	Authority     int32 // revision of the authority that Weft makes to be Issuer; 0: the issuer is the user's
	Issuance      v1alpha1.Issuance
	Lifetime      time.Duration // of a certificate
	RenewBefore   time.Duration // its end
	ConnectionAge time.Duration
	CertManager   string // the user name of cert-manager's controller
}

// SettingsOf reads a Mesh; nil is one that says nothing.
func SettingsOf(m *v1alpha1.Mesh) Settings {
	var spec v1alpha1.MeshSpec
	if m != nil {
		spec = m.Spec
	}
	id := spec.Identity
	s := Settings{
		TrustDomain:   cmp.Or(spec.TrustDomain, TrustDomain),
		Issuance:      cmp.Or(id.Issuance, v1alpha1.IssuanceCertificates),
		Lifetime:      lifetime,
		ConnectionAge: connectionAge,
		CertManager:   serviceAccountUser(certManagerName, certManagerName),
	}
	if id.Lifetime != nil {
		s.Lifetime = id.Lifetime.Duration
	}
	if s.RenewBefore = s.Lifetime / 3; id.RenewBefore != nil {
		s.RenewBefore = id.RenewBefore.Duration
	}
	if id.ConnectionAge != nil {
		s.ConnectionAge = id.ConnectionAge.Duration
	}
	if id.CertManager != nil {
		s.CertManager = serviceAccountUser(cmp.Or(id.CertManager.Namespace, certManagerName), cmp.Or(id.CertManager.Name, certManagerName))
	}
	if id.IssuerRef != nil {
		s.Issuer = Issuer{
			Group: cmp.Or(id.IssuerRef.Group, cmv1.SchemeGroupVersion.Group),
			Kind:  cmp.Or(id.IssuerRef.Kind, cmv1.IssuerKind),
			Name:  id.IssuerRef.Name,
		}
		return s
	}
	s.Authority = max(1, id.AuthorityRevision)
	s.Issuer = OwnIssuer(s.Authority)
	return s
}

func serviceAccountUser(namespace, name string) string {
	return "system:serviceaccount:" + namespace + ":" + name
}
