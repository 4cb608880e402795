package envoy_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/mesh"
)

// shown makes a request over a connection of its own, with that certificate or, empty, with none. It
// returns the status of the answer, 0 without one, and whether an earlier connection's session was resumed.
func (g *gateway) shown(t *testing.T, certificate tls.Certificate, sessions tls.ClientSessionCache) (status int, resumed bool) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, ServerName: "shop.test", ClientSessionCache: sessions,
		// Unlike Certificates, it is shown to those who say that they do not know its authority.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Get(g.url)
	if err != nil {
		return 0, false
	}
	response.Body.Close()
	return response.StatusCode, response.TLS.DidResume
}

// TestFrontendTLS: who shows no valid certificate gets in only where the Gateway says so.
func TestFrontendTLS(t *testing.T) {
	t.Parallel()
	served, stranger := keyPair(t, "shop.test"), keyPair(t, "client.test")
	of := func(chain, key []byte) tls.Certificate {
		t.Helper()
		pair, err := tls.X509KeyPair(chain, key)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	expired := certificate("spiffe://shop.test/client")
	expired.NotBefore, expired.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	certificates := map[string]tls.Certificate{
		"none": {}, "valid": of(sign(t, certificate("spiffe://shop.test/client"))), "expired": of(sign(t, expired)), "another's": of(stranger.Chain, stranger.Key),
	}
	trusted := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})
	for _, required := range []bool{true, false} {
		t.Run(fmt.Sprint("required ", required), func(t *testing.T) {
			g := world{secret: &served, clients: &mesh.ClientTLS{Authorities: trusted, Required: required},
				endpoints: echoes(t, "a"), hosts: host(t, `[{backendRefs: [{name: a}]}]`)}.start(t)
			for name, certificate := range certificates {
				want := 200
				if required && name != "valid" {
					want = 0
				}
				sessions := tls.NewLRUClientSessionCache(1)
				for range 2 {
					if got, resumed := g.shown(t, certificate, sessions); got != want || resumed {
						t.Errorf("%s: %d, resumed %t; want %d", name, got, resumed, want)
					}
				}
			}
		})
	}
}
