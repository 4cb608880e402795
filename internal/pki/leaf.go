package pki

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
)

// authorityKey is where cert-manager puts the authority that signed.
const authorityKey = "ca.crt"

// Root is the certificate of an authority, in PEM.
type Root string

// Fingerprint is the start of the SHA-256 of the certificate, in hexadecimal.
func (r Root) Fingerprint() string {
	block, _ := pem.Decode([]byte(r))
	if block == nil {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:8])
}

// Bundle is roots one after another.
func Bundle(roots []Root) []byte {
	var all []byte
	for _, r := range roots {
		all = append(all, r...)
	}
	return all
}

// Leaf is a certificate that can be used.
type Leaf struct {
	Chain, Key []byte // PEM
	Root       Root   // that it was verified by
	Issued     time.Time
}

// CheckLeaf says whether a proxy may be given a certificate with its chain and key (PEM) as the
// identity id: its peers, which trust the roots, would accept it. A problem says why not. That it may
// have expired is no matter: an old one is no worse than none, and peers refuse it.
func CheckLeaf(chain, key []byte, id string, roots []Root) (Leaf, string) {
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return Leaf{}, fmt.Sprintf("it holds no certificate with its key: %v", err)
	}
	if ec, is := pair.PrivateKey.(*ecdsa.PrivateKey); !is || ec.Curve.Params().BitSize < 256 {
		return Leaf{}, "its key is not ECDSA on P-256 or larger, which is what Weft asks for"
	}
	leaf := pair.Leaf
	if problem := checkName(leaf, id); problem != "" {
		return Leaf{}, problem
	}
	if leaf.IsCA {
		return Leaf{}, "it is the certificate of an authority, not of a workload"
	}
	root, err := verify(pair.Certificate, roots)
	if err != nil {
		return Leaf{}, fmt.Sprintf("no root that the proxies trust verifies it: %v", err)
	}
	return Leaf{Chain: chain, Key: key, Root: root, Issued: leaf.NotBefore}, ""
}

func checkName(leaf *x509.Certificate, id string) string {
	names := make([]string, len(leaf.URIs))
	for i, u := range leaf.URIs {
		names[i] = u.String()
	}
	switch {
	case len(names) != 1:
		return fmt.Sprintf("it has %d URI names (%s) instead of exactly one, %s: see what the issuer adds or removes", len(names), strings.Join(names, ", "), id)
	case names[0] != id:
		return fmt.Sprintf("it is that of %s, not of %s", names[0], id)
	}
	return ""
}

// verify finds the root that a chain leads to, as a client and as a server, at the earliest time at
// which all of it is valid.
func verify(chain [][]byte, roots []Root) (Root, error) {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return "", err
	}
	between := x509.NewCertPool()
	at := leaf.NotBefore
	for _, der := range chain[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return "", err
		}
		between.AddCert(c)
		at = latest(at, c.NotBefore)
	}
	err = errors.New("there is none")
	for _, r := range roots {
		if err = verifiedBy(leaf, between, at, r); err == nil {
			return r, nil
		}
	}
	return "", err
}

func verifiedBy(leaf *x509.Certificate, between *x509.CertPool, at time.Time, by Root) error {
	certs := parse([]byte(by))
	if len(certs) != 1 {
		return errors.New("a root is no certificate")
	}
	pool := x509.NewCertPool()
	pool.AddCert(certs[0])
	var failed []error
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := leaf.Verify(x509.VerifyOptions{
			Roots: pool, Intermediates: between, CurrentTime: latest(at, certs[0].NotBefore), KeyUsages: []x509.ExtKeyUsage{use},
		})
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// parse returns the certificates of a PEM text, and nothing of a text that has others' parts in it.
func parse(text []byte) (all []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			return nil
		}
		all = append(all, c)
	}
}

// IssuerOf is the issuer that cert-manager says it filled a Secret from.
func IssuerOf(s *corev1.Secret) Issuer {
	group := s.Annotations[cmv1.IssuerGroupAnnotationKey]
	if group == "" {
		group = cmv1.SchemeGroupVersion.Group
	}
	return Issuer{group, s.Annotations[cmv1.IssuerKindAnnotationKey], s.Annotations[cmv1.IssuerNameAnnotationKey]}
}

// RootsOf are the authorities of a Secret that cert-manager filled: those in ca.crt or, where an
// issuer publishes none, the end of the chain if it signed itself. A problem says why there are none.
func RootsOf(s *corev1.Secret) ([]Root, string) {
	from := parse(s.Data[authorityKey])
	if len(from) == 0 {
		if chain := parse(s.Data[corev1.TLSCertKey]); len(chain) > 1 && selfSigned(chain[len(chain)-1]) {
			from = chain[len(chain)-1:]
		}
	}
	var roots []Root
	for _, c := range from {
		if !c.IsCA {
			continue
		}
		if r := Root(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})); !slices.Contains(roots, r) {
			roots = append(roots, r)
		}
	}
	if len(roots) == 0 {
		return nil, fmt.Sprintf("%s publishes no authority: Secret %s/%s has none in %s, and its chain does not end in one; configure the issuer to publish it", IssuerOf(s), s.Namespace, s.Name, authorityKey)
	}
	return roots, ""
}

func selfSigned(c *x509.Certificate) bool { return c.IsCA && c.CheckSignatureFrom(c) == nil }

// CheckSecret is CheckLeaf of what a Secret holds, for a ServiceAccount.
func (s Settings) CheckSecret(secret *corev1.Secret, account string, roots []Root) (Leaf, string) {
	leaf, problem := CheckLeaf(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], SPIFFEID(s.TrustDomain, account), roots)
	if problem != "" {
		problem = fmt.Sprintf("Secret %s/%s: %s", secret.Namespace, secret.Name, problem)
	}
	return leaf, problem
}

// CheckProbe says whether the Secret of the Probe is what was asked for, and verified by its own roots.
func (s Settings) CheckProbe(secret *corev1.Secret, roots []Root) (Leaf, string) {
	leaf, problem := s.CheckSecret(secret, operator, roots)
	if problem != "" {
		problem = fmt.Sprintf("%s signs what the mesh cannot use: %s", s.Issuer, problem)
	}
	return leaf, problem
}
