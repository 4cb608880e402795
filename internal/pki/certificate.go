package pki

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
)

// RoleLabel tells what a Certificate or Issuer of Weft's is for; AccountAnnotation, on one that is an
// identity, of which ServiceAccount ("namespace/name").
const (
	RoleLabel         = "mesh.weft.dev/role"
	RoleIdentity      = "identity"
	RoleAuthority     = "mesh-authority"
	AccountAnnotation = "mesh.weft.dev/service-account"
)

// Names in weft-system. The Probe is the operator's own identity, from the issuer that the Mesh
// names: it shows that issuer's roots before any workload has a certificate of it. The Intermediate
// signs in memory. SelfSigned signs Weft's authorities.
const (
	Probe        = "weft-mesh-probe"
	Intermediate = "weft-mesh-intermediate"
	SelfSigned   = "weft-selfsigned"
	authority    = "weft-mesh-ca"
	operator     = v1alpha1.SystemNamespace + "/weft-operator"
)

// Weft's own authority lives long. It keeps its key when cert-manager renews it, so that what it
// signed before holds against the new certificate too: only a new revision changes the root.
const authorityLifetime = 5 * 365 * 24 * time.Hour

// An intermediate lives for some lifetimes of what it signs.
const intermediateLifetimes = 10

// OwnIssuer is the Issuer of one revision of Weft's own authority. The Certificate and Secret behind
// it have its name.
func OwnIssuer(revision int32) Issuer {
	return Issuer{cmv1.SchemeGroupVersion.Group, cmv1.IssuerKind, fmt.Sprintf("%s-%d", authority, revision)}
}

// SPIFFEID is the identity of a ServiceAccount ("namespace/name").
func SPIFFEID(trustDomain, account string) string {
	namespace, name, _ := strings.Cut(account, "/")
	return "spiffe://" + trustDomain + "/ns/" + namespace + "/sa/" + name
}

// maxName leaves room for what cert-manager adds to the name of a Certificate.
const maxName = 200

// SecretName is the name of the Certificate of a ServiceAccount ("namespace/name"), and of its
// Secret: sa.<namespace>.<name>, where that is too long shortened and with a hash. A namespace has no
// dot, so no two are the same.
func SecretName(account string) string {
	name := "sa." + strings.Replace(account, "/", ".", 1)
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(account))
	hash := hex.EncodeToString(sum[:8])
	return strings.TrimRight(name[:maxName-1-len(hash)], "-.") + "-" + hash
}

// Certificate is that of a ServiceAccount, from an issuer.
func (s Settings) Certificate(account string, from Issuer) *cmv1.Certificate {
	c := s.leaf(SecretName(account), account, from)
	role(c, RoleIdentity)
	c.Annotations = map[string]string{AccountAnnotation: account}
	return c
}

// ProbeCertificate is the operator's own, from the issuer that the Mesh names.
func (s Settings) ProbeCertificate() *cmv1.Certificate { return s.leaf(Probe, operator, s.Issuer) }

func (s Settings) leaf(name, account string, from Issuer) *cmv1.Certificate {
	return certificate(name, cmv1.CertificateSpec{
		URIs:        []string{SPIFFEID(s.TrustDomain, account)},
		SecretName:  name,
		Duration:    &metav1.Duration{Duration: s.Lifetime},
		RenewBefore: &metav1.Duration{Duration: s.RenewBefore},
		Usages:      []cmv1.KeyUsage{cmv1.UsageDigitalSignature, cmv1.UsageClientAuth, cmv1.UsageServerAuth},
		IssuerRef:   from.reference(),
	})
}

// IntermediateCertificate is that of the authority that signs in memory.
func (s Settings) IntermediateCertificate(from Issuer) *cmv1.Certificate {
	return certificate(Intermediate, cmv1.CertificateSpec{
		IsCA:       true,
		CommonName: "Weft mesh intermediate " + s.TrustDomain,
		SecretName: Intermediate,
		Duration:   &metav1.Duration{Duration: intermediateLifetimes * s.Lifetime},
		Usages:     []cmv1.KeyUsage{cmv1.UsageCertSign, cmv1.UsageCRLSign, cmv1.UsageDigitalSignature},
		IssuerRef:  from.reference(),
	})
}

// AuthorityCertificate is that of one revision of Weft's own authority.
func AuthorityCertificate(revision int32) *cmv1.Certificate {
	name := OwnIssuer(revision).Name
	c := certificate(name, cmv1.CertificateSpec{
		IsCA:       true,
		CommonName: fmt.Sprintf("Weft mesh authority %d", revision),
		SecretName: name,
		Duration:   &metav1.Duration{Duration: authorityLifetime},
		IssuerRef:  Issuer{cmv1.SchemeGroupVersion.Group, cmv1.IssuerKind, SelfSigned}.reference(),
	})
	c.Spec.PrivateKey.RotationPolicy = cmv1.RotationPolicyNever
	role(c, RoleAuthority)
	return c
}

// role marks a Certificate and its Secret: the Secret is deleted once the Certificate is gone.
func role(c *cmv1.Certificate, is string) {
	c.Labels[RoleLabel] = is
	c.Spec.SecretTemplate = &cmv1.CertificateSecretTemplate{Labels: c.Labels}
}

// AuthorityIssuer signs with what AuthorityCertificate holds.
func AuthorityIssuer(revision int32) *cmv1.Issuer {
	name := OwnIssuer(revision).Name
	issuer := issuer(name, cmv1.IssuerConfig{CA: &cmv1.CAIssuer{SecretName: name}})
	issuer.Labels[RoleLabel] = RoleAuthority
	return issuer
}

// SelfSignedIssuer signs the authorities that Weft makes.
func SelfSignedIssuer() *cmv1.Issuer {
	return issuer(SelfSigned, cmv1.IssuerConfig{SelfSigned: &cmv1.SelfSignedIssuer{}})
}

func issuer(name string, config cmv1.IssuerConfig) *cmv1.Issuer {
	return &cmv1.Issuer{
		TypeMeta:   metav1.TypeMeta{APIVersion: cmv1.SchemeGroupVersion.String(), Kind: cmv1.IssuerKind},
		ObjectMeta: meta(name),
		Spec:       cmv1.IssuerSpec{IssuerConfig: config},
	}
}

// certificate has an ECDSA key, a new one with each renewal.
func certificate(name string, spec cmv1.CertificateSpec) *cmv1.Certificate {
	spec.PrivateKey = &cmv1.CertificatePrivateKey{Algorithm: cmv1.ECDSAKeyAlgorithm, Size: 256, RotationPolicy: cmv1.RotationPolicyAlways}
	return &cmv1.Certificate{
		TypeMeta:   metav1.TypeMeta{APIVersion: cmv1.SchemeGroupVersion.String(), Kind: cmv1.CertificateKind},
		ObjectMeta: meta(name),
		Spec:       spec,
	}
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: v1alpha1.SystemNamespace, Name: name,
		Labels: map[string]string{gateway.ManagedByLabel: gateway.ManagedBy},
	}
}
