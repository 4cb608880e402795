package envoy_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

// known takes every token for the name of a ServiceAccount, which is its scope too.
type known struct{}

func (known) Authenticate(_ context.Context, token string) (xds.Identity, error) {
	return xds.Identity{Namespace: "shop", ServiceAccount: token, Pod: token, Expires: time.Now().Add(time.Hour)}, nil
}

// station is a real Envoy as a sidecar, and what its operator tells it.
type station struct {
	*gateway
	store   *xds.Store
	account string
	admin   string
}

const operatorName = "weft-xds.weft-system.svc"

func startSidecar(t *testing.T, store *xds.Store, at string, operator mesh.Secret, account string) *station {
	t.Helper()
	ports := porttest.Free(t, 3)
	p := sample
	p.Sidecar, p.XDSAddress, p.XDSName = true, at, operatorName
	p.AdminPort, p.ReadyPort, p.StatsPort = ports[0], ports[1], ports[2]
	p.TokenSDSPath, p.RootsSDSPath = files(t, account, operator.Chain)
	s := &station{run(t, bootstrap(t, p), 0), store, account, fmt.Sprintf("http://127.0.0.1:%d", ports[0])}
	s.ready = fmt.Sprintf("http://127.0.0.1:%d", p.ReadyPort)
	return s
}

func (s *station) isReady() bool { return status(s.ready+envoy.ReadyPath) == 200 }

// knows waits until the proxy has been told of all that was committed before.
func (s *station) knows(t *testing.T) {
	t.Helper()
	name := fmt.Sprintf("mark-%d", s.store.Revision())
	mark := envoy.FixedCluster(mesh.Blackhole)
	mark.Name = name
	mark.LoadAssignment = envoy.Endpoints(mesh.Endpoints{Cluster: name, Addresses: []mesh.Endpoint{{Address: "127.0.0.1", Port: 1}}})
	commitTo(s.store, s.account, map[string]proto.Message{name: mark})
	eventually(t, "the proxy has taken the cluster "+name, func() bool {
		response, err := client.Get(s.admin + "/clusters")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return strings.Contains(string(text), name)
	})
}

func identitySecret(t *testing.T, id string, more ...string) map[string]proto.Message {
	t.Helper()
	chain, key := signed(t, id, more...)
	return map[string]proto.Message{mesh.IdentitySecret: envoy.Secret(mesh.Secret{Name: mesh.IdentitySecret, Chain: chain, Key: key})}
}

func rootsSecret() map[string]proto.Message {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})
	return map[string]proto.Message{mesh.RootsSecret: envoy.Roots(mesh.RootsSecret, ca)}
}

// received is the inbound listener of a pod whose port is the one that it listens on, as no connection
// is redirected to it here.
func received(port uint32) *listenerv3.Listener {
	l := envoy.Inbound(mesh.Inbound{TrustDomain: "mesh.test", Mode: mesh.MTLSStrict, ConnectionAge: time.Hour,
		Ports: []mesh.InboundPort{{Port: int32(port), Protocol: mesh.HTTP1, Mode: mesh.MTLSStrict, Service: "shop/cart", Of: 80}}})
	l.Address.GetSocketAddress().PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: port}
	return l
}

// A sidecar whose issuer has not answered yet is not ready, and is as soon as it has.
func TestSidecarWaitsForItsIdentity(t *testing.T) {
	t.Parallel()
	operatorKey := keyPair(t, operatorName)
	store := xds.NewStore(nil)
	port := porttest.Free(t, 1)[0]
	commitTo(store, "cart", rootsSecret(), unguarded(), map[string]proto.Message{
		mesh.InboundListener: received(port),
		mesh.AppHTTP1:        envoy.FixedCluster(mesh.AppHTTP1),
	})
	s := startSidecar(t, store, operator(t, store, operatorKey, known{}), operatorKey, "cart")
	s.knows(t)
	s.knows(t) // and it has heard the answer to what it asked after the first
	if !s.refuses() {
		t.Fatal("the port for probes is open without an identity")
	}
	commitTo(store, "cart", identitySecret(t, appID))
	eventually(t, "the sidecar is ready", s.isReady)
}

// calls are what a sidecar needs to call the Service shop/cart: its listener, which here is listened on,
// and where that leads.
func calls(t *testing.T, port uint32, peers mesh.Peers, endpoints ...mesh.Endpoint) []map[string]proto.Message {
	t.Helper()
	const listener, cluster = "outbound/shop/cart/80", "service/shop/cart/80"
	l := envoy.ServiceListener(mesh.ServiceListener{Name: listener, Addresses: []string{"127.0.0.1"}, Port: port, Protocol: mesh.HTTP1, Service: "shop/cart"})
	l.BindToPort = nil
	return []map[string]proto.Message{
		{listener: l, cluster: envoy.Cluster(mesh.Cluster{Name: cluster, Endpoints: cluster, Protocol: mesh.HTTP1, Peers: peers})},
		{listener: envoy.ServiceRoutes(virtualHost(t, listener, "*", `[{backendRefs: [{name: service/shop/cart/80}]}]`)),
			cluster: envoy.Endpoints(mesh.Endpoints{Cluster: cluster, Addresses: endpoints})},
	}
}

// app is where a sidecar sends what it received: at another address than in a pod.
func app(name string, at mesh.Endpoint) *clusterv3.Cluster {
	c := envoy.FixedCluster(name)
	c.ClusterDiscoveryType, c.LbPolicy = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}, clusterv3.Cluster_ROUND_ROBIN
	c.UpstreamBindConfig = nil
	c.LoadAssignment = envoy.Endpoints(mesh.Endpoints{Cluster: c.Name, Addresses: []mesh.Endpoint{at}})
	return c
}

// TestPeers: between two sidecars, as they are rendered, the app learns who calls; a request under way
// outlives new certificates and roots; who has another name beside its own is refused, until it has its own
// alone; and a Service with an endpoint outside the mesh is reached at both.
func TestPeers(t *testing.T) {
	t.Parallel()
	operatorKey, store := keyPair(t, operatorName), xds.NewStore(nil)
	at := operator(t, store, operatorKey, known{})
	arrived, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	backend := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-held
		}
		_, caller, _ := strings.Cut(r.Header.Get("X-Forwarded-Client-Cert"), ";URI=")
		fmt.Fprint(w, "meshed ", caller)
	})[0]
	t.Cleanup(release) // before the server waits for its requests
	ports := porttest.Free(t, 3)
	inside := mesh.Endpoint{Address: "127.0.0.1", Port: ports[0], Identity: appID}
	only := mesh.Peers{Identities: []string{appID}, All: true}
	commitTo(store, "cart", rootsSecret(), identitySecret(t, appID), unguarded(), map[string]proto.Message{mesh.InboundListener: received(ports[0]), mesh.AppHTTP1: app(mesh.AppHTTP1, backend)})
	commitTo(store, "web", append(calls(t, ports[1], only, inside), rootsSecret(), identitySecret(t, callerID))...)
	commitTo(store, "double", append(calls(t, ports[2], only, inside), rootsSecret(), identitySecret(t, callerID, "spiffe://mesh.test/ns/shop/sa/other"))...)
	for i, account := range []string{"cart", "web", "double"} {
		s := startSidecar(t, store, at, operatorKey, account)
		eventually(t, account+" is ready", func() bool {
			return s.isReady() && (i == 0 || status(fmt.Sprintf("http://127.0.0.1:%d/", ports[i])) != 0)
		})
	}
	web, double := fmt.Sprintf("http://127.0.0.1:%d/", ports[1]), fmt.Sprintf("http://127.0.0.1:%d/", ports[2])
	if got := body(web); got != "200 meshed "+callerID {
		t.Errorf("the app heard %q", got)
	}
	if got := status(double); got != http.StatusServiceUnavailable {
		t.Errorf("a caller with two names: %d", got)
	}

	slow := make(chan string, 1)
	go func() { slow <- body(web + "slow") }()
	select {
	case <-arrived:
	case <-t.Context().Done():
	}
	commitTo(store, "cart", rootsSecret(), identitySecret(t, appID))
	commitTo(store, "web", rootsSecret(), identitySecret(t, callerID))
	commitTo(store, "double", identitySecret(t, callerID))
	eventually(t, "the caller with one name is let in", func() bool { return status(double) == http.StatusOK })
	release()
	if got := <-slow; got != "200 meshed "+callerID {
		t.Errorf("a request under way while certificates changed: %q", got)
	}

	outside := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "plain") })[0]
	commitTo(store, "web", calls(t, ports[1], mesh.Peers{Identities: only.Identities}, inside, outside)...)
	seen := map[string]bool{}
	eventually(t, "both endpoints answer", func() bool { seen[body(web)] = true; return seen["200 plain"] && seen["200 meshed "+callerID] })
	if len(seen) > 2 {
		t.Errorf("other answers too: %v", seen)
	}
}

// body of a GET, after its status.
func body(url string) string {
	response, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(response.StatusCode, " ", string(text))
}
