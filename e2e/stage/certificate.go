package stage

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"
)

// Authority is a certificate authority of one test.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	Pool *x509.CertPool
}

// Leaf is a certificate and its key, in PEM.
type Leaf struct {
	Certificate, Key []byte
	Serial           string // hexadecimal
}

// NewAuthority makes a certificate authority.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	a := &Authority{t: t, cert: cert, key: key, Pool: x509.NewCertPool()}
	a.Pool.AddCert(cert)
	return a
}

// AuthorityOf is the authority whose certificate and key are given in PEM.
func AuthorityOf(t testing.TB, certificate, key []byte) *Authority {
	t.Helper()
	pair, err := tls.X509KeyPair(certificate, key)
	must(t, err)
	private, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("the authority's key is a %T, not an ECDSA key", pair.PrivateKey)
	}
	a := &Authority{t: t, cert: pair.Leaf, key: private, Pool: x509.NewCertPool()}
	a.Pool.AddCert(a.cert)
	return a
}

// Leaf signs a server certificate for host.
func (a *Authority) Leaf(host string) Leaf {
	a.t.Helper()
	return a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

// Peer signs a certificate with those URIs, as workloads have one.
func (a *Authority) Peer(uris ...string) Leaf {
	a.t.Helper()
	template := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, text := range uris {
		uri, err := url.Parse(text)
		must(a.t, err)
		template.URIs = append(template.URIs, uri)
	}
	return a.sign(template)
}

func (a *Authority) sign(template *x509.Certificate) Leaf {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	template.SerialNumber, template.KeyUsage = serial(a.t), x509.KeyUsageDigitalSignature
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	must(a.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(a.t, err)
	return Leaf{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		Serial:      template.SerialNumber.Text(16),
	}
}

// Client is a TLS client's configuration that trusts this authority only.
func (a *Authority) Client(host string) *tls.Config {
	return &tls.Config{RootCAs: a.Pool, ServerName: host, MinVersion: tls.VersionTLS12}
}

func serial(t testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	must(t, err)
	return n
}
