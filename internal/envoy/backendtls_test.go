package envoy_test

import (
	"crypto/tls"
	"encoding/pem"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

func hostname(name gwv1.Hostname) gwv1.SubjectAltName {
	return gwv1.SubjectAltName{Type: gwv1.HostnameSubjectAltNameType, Hostname: name}
}

func uri(name gwv1.AbsoluteURI) gwv1.SubjectAltName {
	return gwv1.SubjectAltName{Type: gwv1.URISubjectAltNameType, URI: name}
}

// storedAuthority does not differ from run to run.
func storedAuthority(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/authority.pem")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// secureApp serves HTTPS with a certificate of the test's authority, and keeps what it was asked.
type secureApp struct {
	*httptest.Server
	mu    sync.Mutex
	asked []asked
}

type asked struct {
	sni, alpn, proto string
}

func startApp(t *testing.T, id, name string) *secureApp {
	t.Helper()
	template := certificate(id)
	template.DNSNames = []string{name}
	chain, key := sign(t, template)
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &secureApp{}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked = append(a.asked, asked{r.TLS.ServerName, r.TLS.NegotiatedProtocol, r.Proto})
	}))
	a.EnableHTTP2 = true
	a.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	a.Config.ErrorLog = stdlog.New(t.Output(), "", 0)
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

// take returns what was asked since the last time.
func (a *secureApp) take() (all []asked) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all, a.asked = a.asked, nil
	return all
}

// TestBackendTLS: a request goes to an app that proves what is asked of it, and else to none.
func TestBackendTLS(t *testing.T) {
	trusted := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})
	secure := startApp(t, "spiffe://shop.test/pay", "*.internal")
	plain := make(chan string, 100)
	asking := func(names ...gwv1.SubjectAltName) *mesh.BackendTLS {
		return &mesh.BackendTLS{SNI: "pay.internal", Names: names, Authorities: trusted}
	}
	strange, lost := asking(hostname("pay.internal")), asking(hostname("pay.internal"))
	strange.Authorities, lost.Authorities = storedAuthority(t), nil
	w := world{http2: "http2", endpoints: map[string][]mesh.Endpoint{}, tls: map[string]*mesh.BackendTLS{
		"http1": asking(hostname("pay.internal")), "http2": asking(hostname("pay.internal")),
		"uri":     asking(hostname("elsewhere.test"), uri("spiffe://shop.test/pay")),
		"another": asking(hostname("elsewhere.test")), "another-uri": asking(uri("spiffe://shop.test/pa")),
		"prefix": asking(hostname("internal")), "strange": strange, "lost": lost, "plain": asking(hostname("pay.internal")),
	}}
	text := "["
	for name := range w.tls {
		w.endpoints[name] = []mesh.Endpoint{endpointAt(secure.Listener)}
		text += "{matches: [{path: {value: /" + name + "}}], backendRefs: [{name: " + name + "}]},"
	}
	w.endpoints["plain"] = serve(t, func(_ http.ResponseWriter, r *http.Request) { plain <- r.RequestURI })
	w.hosts = host(t, text+"]")
	proxy := w.start(t)
	for name, want := range map[string][]asked{
		"http1":   {{"pay.internal", "http/1.1", "HTTP/1.1"}},
		"http2":   {{"pay.internal", "h2", "HTTP/2.0"}},
		"uri":     {{"pay.internal", "http/1.1", "HTTP/1.1"}},
		"another": nil, "another-uri": nil, "prefix": nil, "strange": nil, "lost": nil, "plain": nil,
	} {
		status := map[bool]int{true: 200, false: 503}[len(want) > 0]
		response, _ := proxy.send(t, "GET", "/"+name)
		if got := secure.take(); response.StatusCode != status || !slices.Equal(got, want) {
			t.Errorf("%s: %d, the app was asked %v; want %d, %v", name, response.StatusCode, got, status, want)
		}
	}
	if len(plain) > 0 {
		t.Errorf("an app without TLS got %s", <-plain)
	}
}

// TestBackendTLSIntoTheMesh: a sidecar hands the TLS that its app ends on to it where it permits others
// than the mesh, and refuses it under Strict.
func TestBackendTLSIntoTheMesh(t *testing.T) {
	t.Parallel()
	operatorKey, store := keyPair(t, operatorName), xds.NewStore(nil)
	at := operator(t, store, operatorKey, known{})
	secure := startApp(t, appID, "pay.internal")
	trust := &mesh.BackendTLS{SNI: "pay.internal", Names: []gwv1.SubjectAltName{hostname("pay.internal")},
		Authorities: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})}
	w := world{endpoints: map[string][]mesh.Endpoint{}, tls: map[string]*mesh.BackendTLS{}}
	for account, mode := range map[string]mesh.MTLSMode{"permissive": mesh.MTLSPermissive, "strict": mesh.MTLSStrict} {
		port := porttest.Free(t, 1)[0]
		l := envoy.Inbound(mesh.Inbound{TrustDomain: "mesh.test", Mode: mesh.MTLSStrict, ConnectionAge: time.Hour,
			Ports: []mesh.InboundPort{{Port: int32(port), Protocol: mesh.TLS, Mode: mode, Service: "shop/pay", Of: 443}}})
		l.Address.GetSocketAddress().PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: port}
		commitTo(store, account, rootsSecret(), identitySecret(t, appID), unguarded(), map[string]proto.Message{
			mesh.InboundListener: l, mesh.AppTCP: app(mesh.AppTCP, endpointAt(secure.Listener)),
			mesh.AppHTTP1: app(mesh.AppHTTP1, endpointAt(secure.Listener)), mesh.AppHTTP2: app(mesh.AppHTTP2, endpointAt(secure.Listener)),
		})
		s := startSidecar(t, store, at, operatorKey, account)
		eventually(t, account+" is ready", s.isReady)
		w.endpoints[account], w.tls[account] = []mesh.Endpoint{{Address: "127.0.0.1", Port: port, Identity: appID}}, trust
	}
	w.hosts = host(t, `[{matches: [{path: {value: /strict}}], backendRefs: [{name: strict}]}, {backendRefs: [{name: permissive}]}]`)
	proxy := w.start(t)
	if response, _ := proxy.send(t, "GET", "/"); response.StatusCode != http.StatusOK || len(secure.take()) != 1 {
		t.Errorf("Permissive: %d", response.StatusCode)
	}
	if response, _ := proxy.send(t, "GET", "/strict"); response.StatusCode != http.StatusServiceUnavailable || len(secure.take()) != 0 {
		t.Errorf("Strict: %d", response.StatusCode)
	}
}
