package pki

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Authority is a certificate that signs others, and its key.
type Authority struct {
	Issuer Issuer // that it is of
	Root   Root   // that verifies it
	Chain  []byte // PEM: its certificate, and those above it
	Cert   *x509.Certificate
	Key    crypto.Signer
}

// IntermediateOf reads the Secret of the Intermediate. A problem says why it cannot sign.
func IntermediateOf(s *corev1.Secret) (Authority, string) {
	bad := func(format string, args ...any) (Authority, string) {
		return Authority{}, fmt.Sprintf("Secret %s/%s: ", s.Namespace, s.Name) + fmt.Sprintf(format, args...)
	}
	pair, err := tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return bad("it holds no certificate with its key: %v", err)
	}
	key, is := pair.PrivateKey.(crypto.Signer)
	if !is || !pair.Leaf.IsCA || pair.Leaf.KeyUsage != 0 && pair.Leaf.KeyUsage&x509.KeyUsageCertSign == 0 {
		return bad("%s signed a certificate that may not sign others: have the issuer allow it, or set spec.identity.issuance of the Mesh to Certificates", IssuerOf(s))
	}
	roots, problem := RootsOf(s)
	if problem != "" {
		return Authority{}, problem
	}
	root, err := verify(pair.Certificate, roots)
	if err != nil {
		return bad("the authority in %s does not verify it: %v", authorityKey, err)
	}
	return Authority{IssuerOf(s), root, s.Data[corev1.TLSCertKey], pair.Leaf, key}, ""
}

// skew is how far the clocks of two machines may be apart.
const skew = time.Minute

// Sign makes the certificate of a ServiceAccount for a key: the chain in PEM, and when to renew it. It
// ends with the authority's own at the latest; an authority at its end signs nothing.
func (s Settings) Sign(by Authority, account string, key crypto.PublicKey, now time.Time, random io.Reader) (chain []byte, renew time.Time, err error) {
	end := now.Add(s.Lifetime)
	if by.Cert.NotAfter.Before(end) {
		end = by.Cert.NotAfter
	}
	if !end.After(now) {
		return nil, time.Time{}, fmt.Errorf("the intermediate authority ended at %s", end.Format(time.RFC3339))
	}
	id, err := url.Parse(SPIFFEID(s.TrustDomain, account))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("name ServiceAccount %s: %w", account, err)
	}
	number := make([]byte, 16)
	if _, err := io.ReadFull(random, number); err != nil {
		return nil, time.Time{}, fmt.Errorf("number a certificate: %w", err)
	}
	number[0] &= 0x7f // positive, in 16 bytes
	der, err := x509.CreateCertificate(random, &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(number), URIs: []*url.URL{id},
		NotBefore: now.Add(-skew), NotAfter: end,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, by.Cert, key, by.Key)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("sign the certificate of ServiceAccount %s: %w", account, err)
	}
	left := end.Sub(now)
	return append(encode(der), by.Chain...), end.Add(-min(s.RenewBefore, left/3)), nil
}
