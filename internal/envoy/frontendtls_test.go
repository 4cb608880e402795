package envoy_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
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

// TestFrontendTLSFollows: a client whose authority is trusted no longer is turned away, although its connection
// is open.
func TestFrontendTLSFollows(t *testing.T) {
	t.Parallel()
	const routes, cluster = "gateway/shop/web/443/https", "service/shop/cart/80"
	operatorKey, served, store := keyPair(t, operatorName), keyPair(t, "shop.test"), xds.NewStore(nil)
	at := operator(t, store, operatorKey, known{})
	backend := echoes(t, cluster)[cluster]
	port := porttest.Free(t, 1)[0] // once all others have theirs
	trusting := func(authorities []byte) map[string]proto.Message {
		return map[string]proto.Message{"gateway/shop/web/443": envoy.Listener(mesh.Listener{Name: "gateway/shop/web/443", Port: port,
			Chains: []mesh.Chain{{Name: "https", Routes: routes, Secrets: []string{served.Name}, Clients: &mesh.ClientTLS{Authorities: authorities, Required: true}}}})}
	}
	vhost := virtualHost(t, routes, "*", "[{backendRefs: [{name: "+cluster+"}]}]")
	commitTo(store, "web", trusting(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})), map[string]proto.Message{
		cluster:     envoy.Cluster(mesh.Cluster{Name: cluster, Protocol: mesh.HTTP1}),
		routes:      envoy.RouteConfiguration(routes),
		served.Name: envoy.Secret(served),
	}, map[string]proto.Message{
		cluster: envoy.Endpoints(mesh.Endpoints{Cluster: cluster, Addresses: backend}),
	}, map[string]proto.Message{vhost.Name(): envoy.VirtualHost(vhost)})
	proxy := startSidecar(t, store, at, operatorKey, "web")
	eventually(t, "the proxy is ready", proxy.isReady)

	pair, err := tls.X509KeyPair(sign(t, certificate("spiffe://shop.test/client")))
	if err != nil {
		t.Fatal(err)
	}
	var connections atomic.Int32
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "shop.test", Certificates: []tls.Certificate{pair}},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connections.Add(1)
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	t.Cleanup(client.CloseIdleConnections)
	ask := func() bool {
		response, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err == nil && response.StatusCode == http.StatusOK
	}
	for range 2 {
		if !ask() {
			t.Fatal("the client does not get in")
		}
	}
	if n := connections.Load(); n != 1 {
		t.Fatalf("the client asks by %d connections", n)
	}
	commitTo(store, "web", trusting(storedAuthority(t)))
	eventually(t, "the client is turned away", func() bool { return !ask() })
}
