package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
)

// validity of the certificates; the cluster is deleted long before.
const validity = 365 * 24 * time.Hour

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	layout      layout.Layout
}

// writePKI makes the cluster's keys and certificates.
func writePKI(l layout.Layout) error {
	cluster, err := newAuthority(l, "ca")
	if err != nil {
		return err
	}
	aggregation, err := newAuthority(l, "front-proxy-ca")
	if err != nil {
		return err
	}
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + layout.ClusterDomain, "localhost", layout.NodeName}
	addresses := []net.IP{net.ParseIP("127.0.0.1"), net.IPv6loopback, net.ParseIP(layout.NodeIPv4), net.ParseIP(layout.NodeIPv6), net.ParseIP(layout.KubernetesService)}
	for file, certificate := range map[string]*x509.Certificate{
		"apiserver": {DNSNames: names, IPAddresses: addresses, Subject: pkix.Name{CommonName: "kube-apiserver"}},
		"kubelet":   {DNSNames: names, IPAddresses: addresses, Subject: pkix.Name{CommonName: "system:node:" + layout.NodeName}},
		// The API server's identity towards the kubelet, for logs and exec.
		"apiserver-kubelet-client": {Subject: pkix.Name{CommonName: "kube-apiserver", Organization: []string{"system:masters"}}},
	} {
		if err := cluster.issue(file, certificate); err != nil {
			return err
		}
	}
	if err := aggregation.issue("front-proxy-client", &x509.Certificate{Subject: pkix.Name{CommonName: "front-proxy-client"}}); err != nil {
		return err
	}
	return writeServiceAccountKey(l)
}

func newAuthority(l layout.Layout, name string) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, fmt.Errorf("make the key of %s: %w", name, err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a := authority{certificate: template, key: key, layout: l}
	der, err := a.sign(template, key)
	if err != nil {
		return authority{}, fmt.Errorf("sign %s: %w", name, err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return authority{}, fmt.Errorf("parse %s: %w", name, err)
	}
	return a, writePair(l, name, der, key)
}

func (a authority) issue(file string, template *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the key of %s: %w", file, err)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := a.sign(template, key)
	if err != nil {
		return fmt.Errorf("sign %s: %w", file, err)
	}
	return writePair(a.layout, file, der, key)
}

func (a authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(validity)
	return x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
}

func writePair(l layout.Layout, name string, der []byte, key *ecdsa.PrivateKey) error {
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the key of %s: %w", name, err)
	}
	if err := l.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), "pki", name+".key"); err != nil {
		return err
	}
	return l.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), "pki", name+".crt")
}

// writeServiceAccountKey makes the key that signs ServiceAccount tokens.
func writeServiceAccountKey(l layout.Layout) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make the key of ServiceAccount tokens: %w", err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return l.Write(private, "pki", "service-accounts.key")
}
