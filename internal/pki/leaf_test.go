package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const web = "spiffe://cluster.local/ns/shop/sa/web"

// signer is an authority.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (s signer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})
}

var serial int64

// sign makes a certificate; by nil it signs itself.
func sign(t testing.TB, by *signer, key crypto.Signer, edit func(c *x509.Certificate)) signer {
	t.Helper()
	serial++
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: start, NotAfter: start.Add(24 * time.Hour), BasicConstraintsValid: true}
	edit(c)
	parent, private := c, key
	if by != nil {
		parent, private = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signer{cert, key}
}

func ecKey(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB, name string, by *signer) signer {
	t.Helper()
	return sign(t, by, ecKey(t, elliptic.P256()), func(c *x509.Certificate) {
		c.Subject, c.IsCA, c.KeyUsage = pkix.Name{CommonName: name}, true, x509.KeyUsageCertSign
	})
}

func uris(t testing.TB, names ...string) (all []*url.URL) {
	t.Helper()
	for _, n := range names {
		u, err := url.Parse(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return all
}

func keyPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestCheckLeaf(t *testing.T) {
	root, other := newAuthority(t, "root", nil), newAuthority(t, "root", nil) // one name, two keys
	between := newAuthority(t, "between", &root)
	key := ecKey(t, elliptic.P256())
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	named := func(names ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.URIs = uris(t, names...) }
	}
	good := sign(t, &between, key, named(web))
	for name, c := range map[string]struct {
		leaf    signer
		key     crypto.Signer
		chain   []byte
		problem string
	}{
		"right":                {good, key, between.pem(), ""},
		"right, with the root": {good, key, append(between.pem(), root.pem()...), ""},
		"by the root":          {sign(t, &root, key, named(web)), key, nil, ""},
		"expired long ago": {sign(t, &root, key, func(c *x509.Certificate) {
			c.URIs, c.NotBefore, c.NotAfter = uris(t, web), time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC)
		}), key, nil, "no root that the proxies trust"},
		"two names":            {sign(t, &root, key, named(web, web+"2")), key, nil, "2 URI names (" + web + ", " + web + "2)"},
		"one name twice":       {sign(t, &root, key, named(web, web)), key, nil, "2 URI names"},
		"no name":              {sign(t, &root, key, named()), key, nil, "0 URI names"},
		"another's name":       {sign(t, &root, key, named("spiffe://cluster.local/ns/shop/sa/api")), key, nil, "it is that of spiffe://cluster.local/ns/shop/sa/api"},
		"another trust domain": {sign(t, &root, key, named("spiffe://example.org/ns/shop/sa/web")), key, nil, "not of " + web},
		"a DNS name instead":   {sign(t, &root, key, func(c *x509.Certificate) { c.DNSNames = []string{"web.shop"} }), key, nil, "0 URI names"},
		"another's key":        {good, ecKey(t, elliptic.P256()), between.pem(), "no certificate with its key"},
		"an RSA key":           {sign(t, &root, large, named(web)), large, nil, "not ECDSA"},
		"a short key":          {sign(t, &root, ecKey(t, elliptic.P224()), named(web)), nil, nil, "not ECDSA on P-256"},
		"no intermediate":      {good, key, nil, "no root that the proxies trust"},
		"another root":         {sign(t, &other, key, named(web)), key, nil, "no root that the proxies trust"},
		"an authority's":       {sign(t, &root, key, func(c *x509.Certificate) { c.URIs, c.IsCA = uris(t, web), true }), key, nil, "of an authority"},
		"for servers only": {sign(t, &root, key, func(c *x509.Certificate) {
			c.URIs, c.ExtKeyUsage = uris(t, web), []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), key, nil, "no root that the proxies trust"},
		"for both": {sign(t, &root, key, func(c *x509.Certificate) {
			c.URIs, c.ExtKeyUsage = uris(t, web), []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		}), key, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.key == nil {
				c.key = c.leaf.key
			}
			chain := append(c.leaf.pem(), c.chain...)
			got, problem := CheckLeaf(chain, keyPEM(t, c.key), web, []Root{"no PEM", Root(root.pem())})
			if c.problem == "" && (problem != "" || got.Root != Root(root.pem()) || !bytes.Equal(got.Chain, chain)) {
				t.Errorf("refused: %q, by root %q", problem, got.Root)
			}
			if c.problem != "" && (!strings.Contains(problem, c.problem) || got.Chain != nil) {
				t.Errorf("said %q instead of %q", problem, c.problem)
			}
		})
	}
}

// TestLateRoot: a leaf may be dated before the authority that signed it, as issuers that allow for
// skewed clocks do.
func TestLateRoot(t *testing.T) {
	root := newAuthority(t, "root", nil)
	key := ecKey(t, elliptic.P256())
	leaf := sign(t, &root, key, func(c *x509.Certificate) {
		c.URIs, c.NotBefore = uris(t, web), root.cert.NotBefore.Add(-time.Minute)
	})
	if _, problem := CheckLeaf(leaf.pem(), keyPEM(t, key), web, []Root{Root(root.pem())}); problem != "" {
		t.Error(problem)
	}
}

func TestRootsOf(t *testing.T) {
	root := newAuthority(t, "root", nil)
	between := newAuthority(t, "between", &root)
	key := ecKey(t, elliptic.P256())
	leaf := sign(t, &between, key, func(c *x509.Certificate) { c.URIs = uris(t, web) })
	join := func(parts ...signer) (all []byte) {
		for _, p := range parts {
			all = append(all, p.pem()...)
		}
		return all
	}
	for name, c := range map[string]struct {
		authority, chain []byte
		want             []Root
	}{
		"published":               {join(root), join(leaf, between), []Root{Root(root.pem())}},
		"two, one of them twice":  {join(root, between, root), join(leaf), []Root{Root(root.pem()), Root(between.pem())}},
		"at the end of the chain": {nil, join(leaf, between, root), []Root{Root(root.pem())}},
		"the chain ends before":   {nil, join(leaf, between), nil},
		"a leaf alone":            {nil, join(leaf), nil},
		"what is no authority":    {join(leaf), join(leaf, between), nil},
		"no PEM":                  {[]byte("x"), []byte("y"), nil},
		"a key among them":        {append(join(root), keyPEM(t, key)...), join(leaf), nil},
	} {
		t.Run(name, func(t *testing.T) {
			roots, problem := RootsOf(&corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: "weft-system", Name: "s", Annotations: map[string]string{
					"cert-manager.io/issuer-kind": "ClusterIssuer", "cert-manager.io/issuer-name": "vault",
				}},
				Data: map[string][]byte{"ca.crt": c.authority, "tls.crt": c.chain},
			})
			if string(Bundle(roots)) != string(Bundle(c.want)) {
				t.Errorf("%d roots: %s", len(roots), problem)
			}
			if (problem == "") != (len(c.want) > 0) || problem != "" && !strings.Contains(problem, "ClusterIssuer/vault publishes no authority: Secret weft-system/s") {
				t.Errorf("said %q", problem)
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	root := Root(newAuthority(t, "root", nil).pem())
	if len(root.Fingerprint()) != 16 || Root("x").Fingerprint() != "" {
		t.Errorf("%q and %q", root.Fingerprint(), Root("x").Fingerprint())
	}
}

// FuzzCheckLeaf: whatever names an issuer writes, and whatever follows in the chain, what is taken has
// one name, the right one; and that is taken.
func FuzzCheckLeaf(f *testing.F) {
	root, key := newAuthority(f, "root", nil), ecKey(f, elliptic.P256())
	private := keyPEM(f, key)
	f.Add(web, false, []byte(nil))
	f.Add(web+"\n"+web, false, []byte("x"))
	f.Add("", true, []byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"))
	f.Add("spiffe://cluster.local/ns/shop/sa/web2\nhttps://web", false, []byte("-----BEGIN"))
	f.Fuzz(func(t *testing.T, names string, authority bool, more []byte) {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: root.cert.NotBefore, NotAfter: root.cert.NotAfter, BasicConstraintsValid: true, IsCA: authority}
		for n := range strings.Lines(names) {
			if u, err := url.Parse(strings.TrimSpace(n)); err == nil {
				c.URIs = append(c.URIs, u)
			}
		}
		der, err := x509.CreateCertificate(rand.Reader, c, root.cert, key.Public(), root.key)
		if err != nil {
			return // no issuer can write these
		}
		chain := append(encode(der), more...)
		RootsOf(&corev1.Secret{Data: map[string][]byte{"ca.crt": more, "tls.crt": chain}})
		_, problem := CheckLeaf(chain, private, web, []Root{Root(root.pem())})
		right := len(c.URIs) == 1 && c.URIs[0].String() == web && !authority
		if !right && problem == "" || right && problem != "" && len(more) == 0 {
			t.Fatalf("names %q, an authority: %t: %q", names, authority, problem)
		}
	})
}
