package mesh

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// keyPair is what a Secret holds, checked.
type keyPair struct {
	Secret
	Names   []string  // the hostnames that the certificate is for
	Ends    time.Time // when the first certificate of the chain does
	problem Verdict
}

// reasonNotFound is that of a keyPair whose Secret does not exist.
const reasonNotFound = "NotFound"

// keyPair reads and checks a Secret: Envoy would refuse a listener whose certificate does not
// parse, or whose key is another's.
func (m *Mesh) keyPair(q *incr.Query, k string) keyPair {
	s, ok := m.Secrets.Get(q, k)
	if !ok {
		return keyPair{problem: wrong(reasonNotFound, "there is no Secret %s of type %q", k, corev1.SecretTypeTLS)}
	}
	if s.Type != corev1.SecretTypeTLS {
		return keyPair{problem: wrong("Invalid", "Secret %s is of type %q: it must be %q", k, s.Type, corev1.SecretTypeTLS)}
	}
	chain, private := s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]
	pair, err := tls.X509KeyPair(chain, private)
	if err != nil {
		return keyPair{problem: wrong("Invalid", "Secret %s: data[%q] and data[%q] are not a certificate and its key: %s", k, corev1.TLSCertKey, corev1.TLSPrivateKeyKey, whyNoPair(chain, private, err))}
	}
	if !usableKey(pair.PrivateKey) {
		return keyPair{problem: wrong("Invalid", "Secret %s: data[%q] must be an RSA key of 2048 bits or more, or an ECDSA key on P-256, P-384 or P-521: Envoy takes no other", k, corev1.TLSPrivateKeyKey)}
	}
	return keyPair{Secret: Secret{Name: secretName(k), Chain: chain, Key: private}, Names: pair.Leaf.DNSNames, Ends: pair.Leaf.NotAfter}
}

// whyNoPair says how to mend a chain and a key that are no pair.
func whyNoPair(chain, private []byte, err error) string {
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		if _, late := tls.X509KeyPair(pem.EncodeToMemory(block), private); late == nil {
			return "the certificate of the key comes after another: put it first, and behind it who signed it"
		}
	}
	return fmt.Sprintf("%v: put in the two that were issued together, in PEM", err)
}

// SecretByName is the Secret that a secretName names; false when it is not to be served.
func (m *Mesh) SecretByName(q *incr.Query, name string) (Secret, bool) {
	p := m.secrets.Get(q, name[len("secret/"):])
	return p.Secret, p.problem.OK()
}

// usableKey says whether Envoy accepts a private key. One that it refused would keep the whole
// port from changing, its healthy siblings included.
func usableKey(k crypto.PrivateKey) bool {
	switch k := k.(type) {
	case *rsa.PrivateKey:
		return k.N.BitLen() >= 2048
	case *ecdsa.PrivateKey:
		return k.Curve != elliptic.P224()
	}
	return false
}

// servedBefore says whether a Secret that is unusable now is there and held a usable certificate:
// the proxies keep that one, so that a slip of the pen does not close a port.
func (m *Mesh) servedBefore(q *incr.Query, k string) bool {
	_, is := m.Secrets.Get(q, k)
	_, good := m.GoodSecrets.Get(q, k)
	return is && good
}
