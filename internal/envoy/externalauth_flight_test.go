package envoy_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

// slow is a server that hears every question and answers none before it is let.
type slow struct {
	authv3.UnimplementedAuthorizationServer
	heard chan struct{}
	let   chan struct{}
}

func (s slow) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	s.heard <- struct{}{}
	select {
	case <-s.let:
	case <-r.Context().Done(): // the one who asked has gone
	}
}

func (s slow) Check(ctx context.Context, _ *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	s.heard <- struct{}{}
	select {
	case <-s.let:
	case <-ctx.Done():
	}
	return &authv3.CheckResponse{Status: &rpcstatus.Status{}}, ctx.Err()
}

// served is where a slow server listens that speaks HTTP or gRPC.
func (s slow) served(t *testing.T, overGRPC bool) []mesh.Endpoint {
	if !overGRPC {
		return serve(t, s.ServeHTTP)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, s)
	go func() { _ = server.Serve(l) }() // Stop ends it
	t.Cleanup(server.Stop)
	return []mesh.Endpoint{endpointAt(l)}
}

// flight is a proxy whose rule has a slow server asked.
type flight struct {
	*gateway
	slow
	t          *testing.T
	store      *xds.Store
	facts      *xds.Facts
	at         []mesh.Endpoint // of the server
	speaks     mesh.Cluster    // how it is spoken to
	protocol   string
	asked, app string // the clusters
	admin      string
}

const (
	flightRoutes = "gateway/shop/web/80"
	inFlight     = 20 // requests
)

func newFlight(t *testing.T, protocol string, linger func(string) time.Duration) *flight {
	f := &flight{t: t, slow: slow{heard: make(chan struct{}, inFlight), let: make(chan struct{})}, store: xds.NewStore(nil), facts: xds.NewFacts(), protocol: protocol,
		asked: "service/shop/authz/80", app: "service/shop/cart/80"}
	f.speaks = mesh.Cluster{Name: f.asked, Endpoints: f.asked, Protocol: mesh.HTTP1}
	if protocol == "GRPC" {
		f.asked += "/h2"
		f.speaks = mesh.Cluster{Name: f.asked, Endpoints: f.speaks.Endpoints, Protocol: mesh.HTTP2}
	}
	f.at = f.served(t, protocol == "GRPC")
	ports, certificate := porttest.Free(t, 4), keyPair(t, "weft-xds.weft-system.svc")
	door := knock{token: "who I am", heard: make(chan string, 10), open: make(chan bool)}
	close(door.open)
	p := sample
	p.XDSAddress = operate(t, certificate, xds.Options{Store: f.store, Facts: f.facts, Authenticator: door, Linger: linger})
	p.XDSName = "weft-xds.weft-system.svc"
	p.AdminPort, p.ReadyPort, p.StatsPort = ports[0], ports[1], ports[2]
	p.TokenSDSPath, p.RootsSDSPath = files(t, door.token, certificate.Chain)
	commit(f.store, map[string]proto.Message{
		flightRoutes: envoy.Listener(mesh.Listener{Name: flightRoutes, Port: ports[3], Chains: []mesh.Chain{{Name: "http", Routes: flightRoutes}}}),
		f.app:        envoy.Cluster(mesh.Cluster{Name: f.app, Endpoints: f.app, Protocol: mesh.HTTP1}),
	}, map[string]proto.Message{
		flightRoutes: envoy.RouteConfiguration(flightRoutes),
		f.app:        envoy.Endpoints(mesh.Endpoints{Cluster: f.app, Addresses: echoes(t, f.app)[f.app]}),
	}, map[string]proto.Message{
		mesh.IdentitySecret: envoy.Secret(mesh.Secret{Name: mesh.IdentitySecret, Chain: certificate.Chain, Key: certificate.Key}),
		mesh.RootsSecret:    envoy.Roots(mesh.RootsSecret, certificate.Chain),
	})
	f.asks()
	f.gateway = run(t, bootstrap(t, p), 0)
	f.admin = fmt.Sprintf("http://127.0.0.1:%d", p.AdminPort)
	f.url = "http://127.0.0.1:" + fmt.Sprint(ports[3])
	eventually(t, "the proxy is ready", func() bool { return status(fmt.Sprintf("http://127.0.0.1:%d", p.ReadyPort)+envoy.ReadyPath) == 200 })
	return f
}

// asks has the rule ask the server.
func (f *flight) asks() {
	f.rule(fmt.Sprintf("filters: [{type: ExternalAuth, externalAuth: {protocol: %s, backendRef: {name: %s}}}],", f.protocol, f.asked), 0, map[string]proto.Message{
		f.asked:              envoy.Cluster(f.speaks),
		mesh.Asking(f.asked): envoy.AskingCluster(mesh.Asking(f.asked)),
	}, map[string]proto.Message{
		f.speaks.Endpoints: envoy.Endpoints(mesh.Endpoints{Cluster: f.speaks.Endpoints, Addresses: f.at}),
	})
}

// leaves has the rule do something else, and the server's clusters gone.
func (f *flight) leaves(fail uint32) {
	f.rule("", fail, map[string]proto.Message{
		f.asked:              (*clusterv3.Cluster)(nil),
		mesh.Asking(f.asked): (*clusterv3.Cluster)(nil),
	}, map[string]proto.Message{
		f.speaks.Endpoints: (*endpointv3.ClusterLoadAssignment)(nil),
	})
}

func (f *flight) rule(filters string, fail uint32, more ...map[string]proto.Message) {
	f.t.Helper()
	host := virtualHost(f.t, flightRoutes, "*", fmt.Sprintf("[{%s backendRefs: [{name: %s}]}]", filters, f.app))
	host.Rules[0].Fail = fail
	commit(f.store, append(more, map[string]proto.Message{host.Name(): envoy.VirtualHost(host)})...)
}

// applied waits until the proxy has taken in all that was committed.
func (f *flight) applied() {
	f.t.Helper()
	revision := f.store.Revision()
	eventually(f.t, "the proxy has the change", func() bool {
		all := f.facts.All()
		return len(all) == 1 && all[0].Acknowledged >= revision && len(all[0].Refused) == 0
	})
}

// over has requests asked about, makes a change, has them answered when the proxy has it, and wants all of
// them to reach the app.
func (f *flight) over(what string, change func()) {
	f.t.Helper()
	f.applied()
	answers := make(chan string)
	for range inFlight {
		go func() {
			response, err := client.Get(f.url)
			if err != nil {
				answers <- err.Error()
				return
			}
			response.Body.Close()
			answers <- response.Status
		}()
	}
	for range inFlight {
		<-f.heard
	}
	change()
	f.applied()
	got := map[string]int{}
	for answered := 0; answered < inFlight; {
		select {
		case f.let <- struct{}{}:
		case answer := <-answers:
			got[answer]++
			answered++
		}
	}
	if got["200 OK"] != inFlight {
		f.t.Errorf("%s: %d requests with a question under way were answered %v", what, inFlight, got)
	}
}

// However its server changes, or goes, while a proxy asks it, the requests that it is asked about are answered
// as it says.
func TestExternalAuthInFlight(t *testing.T) {
	for _, protocol := range []string{"HTTP", "GRPC"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			f := newFlight(t, protocol, mesh.Linger)
			f.over("the pods of the server have another ServiceAccount", func() {
				f.speaks.Peers.Identities = []string{"spiffe://cluster.local/ns/shop/sa/authz"}
				f.asks()
			})
			f.over("retries of the server have another budget", func() {
				f.speaks.Retries = &mesh.RetryBudget{Percent: 50, Least: 1}
				f.asks()
			})
			f.over("the filter is gone", func() { f.leaves(0) })
			f.asks()
			f.over("the server's Service is gone", func() { f.leaves(500) })
			f.asks()
			f.over("the filter goes and comes back", func() {
				f.leaves(0)
				f.applied()
				f.asks()
			})
		})
	}
}

// What questions go through is gone in the end.
func TestExternalAuthLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newFlight(t, "HTTP", func(string) time.Duration { return 10 * time.Millisecond })
	has := func() bool {
		return strings.Contains(string(fetch(t, f.admin+"/clusters", "identity")), mesh.Asking(f.asked))
	}
	if !has() {
		t.Fatal("there is no cluster to ask by")
	}
	f.leaves(0)
	eventually(t, "the cluster is gone", func() bool { return !has() })
}

// A question that proves not to have reached the server goes to another of its pods.
func TestExternalAuthAsksAnother(t *testing.T) {
	w := world{endpoints: echoes(t, "b"), hosts: host(t, authRules)}
	asked, at := judge(t)
	for _, port := range porttest.Free(t, 2) {
		at = append(at, mesh.Endpoint{Address: "127.0.0.1", Port: port})
	}
	w.endpoints["authz"] = at
	g := w.start(t)
	for range 20 {
		if response, got := g.send(t, "GET", "/go"); response.StatusCode != 302 {
			t.Errorf("%d %q, want 302", response.StatusCode, got.Backend)
		}
	}
	if n := len(asked.take()); n != 20 {
		t.Errorf("asked %d times, want 20", n)
	}
}

// A server that a BackendTLSPolicy is about is asked over TLS, and where it does not prove what that says, not
// at all.
func TestExternalAuthOverTLS(t *testing.T) {
	secure := startApp(t, "spiffe://shop.test/authz", "authz.internal")
	proves := func(authorities []byte) *mesh.BackendTLS {
		return &mesh.BackendTLS{SNI: "authz.internal", Names: []gwv1.SubjectAltName{hostname("authz.internal")}, Authorities: authorities}
	}
	w := world{endpoints: echoes(t, "b"), tls: map[string]*mesh.BackendTLS{
		"good":    proves(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})),
		"strange": proves(storedAuthority(t)),
	}}
	text := ""
	for name := range w.tls {
		w.endpoints[name] = []mesh.Endpoint{endpointAt(secure.Listener)}
		text += fmt.Sprintf("- {matches: [{path: {value: /%s}}], filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: %s}}}], backendRefs: [{name: b}]}\n", name, name)
	}
	w.hosts = host(t, text)
	g := w.start(t)
	response, got := g.send(t, "GET", "/good")
	if told := secure.take(); response.StatusCode != 200 || got.Backend != "b" || !slices.Equal(told, []asked{{"authz.internal", "http/1.1", "HTTP/1.1"}}) {
		t.Errorf("%d %q, and the server heard %v", response.StatusCode, got.Backend, told)
	}
	response, got = g.send(t, "GET", "/strange")
	if told := secure.take(); response.StatusCode != 503 || got.Backend != "" || len(told) != 0 {
		t.Errorf("by another authority: %d %q, and the server heard %v", response.StatusCode, got.Backend, told)
	}
}
