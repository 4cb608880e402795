package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestSign(t *testing.T) {
	root := newAuthority(t, "root", nil)
	by := newAuthority(t, "intermediate", &root)
	secret := &corev1.Secret{Data: map[string][]byte{"tls.crt": by.pem(), "tls.key": keyPEM(t, by.key), "ca.crt": root.pem()}}
	authority, problem := IntermediateOf(secret)
	if problem != "" || authority.Root != Root(root.pem()) {
		t.Fatal(problem)
	}
	s := SettingsOf(nil)
	s.Lifetime, s.RenewBefore = 6*time.Hour, 2*time.Hour
	start, end := by.cert.NotBefore, by.cert.NotAfter
	for name, c := range map[string]struct{ now, renew, until time.Time }{
		"at two thirds":              {start.Add(time.Hour), start.Add(5 * time.Hour), start.Add(7 * time.Hour)},
		"not beyond the authority's": {end.Add(-3 * time.Hour), end.Add(-time.Hour), end},
		"never again and again":      {end.Add(-3 * time.Second), end.Add(-time.Second), end},
	} {
		t.Run(name, func(t *testing.T) {
			key := ecKey(t, elliptic.P256())
			chain, renew, err := s.Sign(authority, "shop/web", key.Public(), c.now, rand.Reader)
			if err != nil || !renew.Equal(c.renew) {
				t.Fatalf("renewed at %s, %v", renew, err)
			}
			if made := parse(chain)[0]; !made.NotAfter.Equal(c.until) || !made.NotBefore.Before(c.now) {
				t.Errorf("from %s to %s", made.NotBefore, made.NotAfter)
			}
			if _, problem := CheckLeaf(chain, keyPEM(t, key), web, []Root{Root(root.pem())}); problem != "" {
				t.Error(problem)
			}
		})
	}
	if _, _, err := s.Sign(authority, "shop/web", by.key.Public(), end, rand.Reader); err == nil {
		t.Error("an authority at its end signed")
	}
}

func TestIntermediateOf(t *testing.T) {
	root, key := newAuthority(t, "root", nil), ecKey(t, elliptic.P256())
	leaf := sign(t, &root, key, func(c *x509.Certificate) { c.URIs = uris(t, web) })
	noSigner := sign(t, &root, key, func(c *x509.Certificate) {
		c.Subject, c.IsCA, c.KeyUsage = pkix.Name{CommonName: "x"}, true, x509.KeyUsageDigitalSignature
	})
	good := newAuthority(t, "good", &root)
	for name, c := range map[string]struct {
		cert    signer
		ca      []byte
		problem string
	}{
		"a workload's":        {leaf, root.pem(), "may not sign others"},
		"one without the use": {noSigner, root.pem(), "may not sign others"},
		"no authority":        {good, nil, "publishes no authority"},
		"another root":        {good, newAuthority(t, "root", nil).pem(), "does not verify it"},
		"another's key":       {signer{good.cert, key.(*ecdsa.PrivateKey)}, root.pem(), "no certificate with its key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problem := IntermediateOf(&corev1.Secret{Data: map[string][]byte{"tls.crt": c.cert.pem(), "tls.key": keyPEM(t, c.cert.key), "ca.crt": c.ca}})
			if !strings.Contains(problem, c.problem) {
				t.Errorf("said %q", problem)
			}
		})
	}
}
