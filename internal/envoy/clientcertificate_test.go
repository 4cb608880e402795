package envoy_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/protobuf/proto"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

// startAsker is an app that serves whoever has a certificate of the test's authority, and answers with the
// name in it, each time over a connection of its own.
func startAsker(t *testing.T, name string) mesh.Endpoint {
	t.Helper()
	template := certificate(appID)
	template.DNSNames = []string{name}
	chain, key := sign(t, template)
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(authority)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("Caller", r.TLS.PeerCertificates[0].URIs[0].String())
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	server.Config.ErrorLog = stdlog.New(t.Output(), "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return endpointAt(server.Listener)
}

// TestBackendClientCertificate: an app that asks for a certificate gets the Gateway's, and the new one once it
// has changed; without one it serves nothing.
func TestBackendClientCertificate(t *testing.T) {
	t.Parallel()
	const routes, cluster = "gateway/shop/web/80", "service/shop/pay/443/backend-tls"
	operatorKey, store := keyPair(t, operatorName), xds.NewStore(nil)
	at := operator(t, store, operatorKey, known{})
	app := startAsker(t, "pay.internal")
	port := porttest.Free(t, 1)[0] // once all others have theirs
	trust := &mesh.BackendTLS{SNI: "pay.internal", Names: []gwv1.SubjectAltName{hostname("pay.internal")},
		Authorities: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})}
	pay := func(certificate string) map[string]proto.Message {
		trust.Certificate = certificate
		return map[string]proto.Message{cluster: envoy.Cluster(mesh.Cluster{Name: cluster, Protocol: mesh.HTTP1, TLS: trust})}
	}
	secret := func(id string) map[string]proto.Message {
		chain, key := signed(t, id)
		return map[string]proto.Message{"secret/shop/client": envoy.Secret(mesh.Secret{Name: "secret/shop/client", Chain: chain, Key: key})}
	}
	vhost := virtualHost(t, routes, "*", "[{backendRefs: [{name: "+cluster+"}]}]")
	commitTo(store, "web", pay(""), map[string]proto.Message{
		cluster: envoy.Endpoints(mesh.Endpoints{Cluster: cluster, Addresses: []mesh.Endpoint{app}}),
	}, map[string]proto.Message{
		routes: envoy.Listener(mesh.Listener{Name: routes, Port: port, Chains: []mesh.Chain{{Name: "http", Routes: routes}}}),
	}, map[string]proto.Message{routes: envoy.RouteConfiguration(routes)}, map[string]proto.Message{vhost.Name(): envoy.VirtualHost(vhost)})
	proxy := startSidecar(t, store, at, operatorKey, "web")
	eventually(t, "the proxy is ready", proxy.isReady)
	proxy.url = fmt.Sprintf("http://127.0.0.1:%d", port)
	calls := func() (int, string) {
		response, _ := proxy.send(t, "GET", "/")
		return response.StatusCode, response.Header.Get("Caller")
	}
	if status, caller := calls(); status != http.StatusServiceUnavailable {
		t.Errorf("without a certificate: %d, %s", status, caller)
	}
	for _, id := range []string{"spiffe://shop.test/first", "spiffe://shop.test/second"} {
		commitTo(store, "web", pay("secret/shop/client"), secret(id))
		eventually(t, "the app knows "+id, func() bool {
			status, caller := calls()
			return status == http.StatusOK && caller == id
		})
	}
}
