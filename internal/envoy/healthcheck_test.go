package envoy_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/smi"
	"github.com/weft-mesh/weft/internal/xds"
)

func checked(s v1alpha1.HealthCheck) []room.Decided {
	s.Interval, s.HealthyThreshold = period("100ms"), new(int32(1))
	return []room.Decided{{Section: "healthCheck", Policy: "shop/checked", Says: &s}}
}

// patient is a backend whose health is another matter than its answers.
type patient struct {
	ill           atomic.Bool
	asked, checks atomic.Int32
	host          atomic.Value
}

func (p *patient) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/healthz" {
		p.asked.Add(1)
		return
	}
	p.checks.Add(1)
	p.host.Store(r.Host)
	if p.ill.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// TestHealthCheck: a backend that says it is not well is sent nothing, from as many checks on as it may fail and until
// it says that it is; while all of them say so, they are sent to nevertheless.
func TestHealthCheck(t *testing.T) {
	t.Parallel()
	a, b := &patient{}, &patient{}
	const name = "service/shop/cart/80"
	g := world{policies: checked(v1alpha1.HealthCheck{HTTP: &v1alpha1.HTTPHealthCheck{Path: "/healthz"}}),
		endpoints: map[string][]mesh.Endpoint{name: append(serve(t, a.ServeHTTP), serve(t, b.ServeHTTP)...)},
		hosts:     host(t, `[{backendRefs: [{name: service/shop/cart/80}]}]`)}.start(t)
	if got := a.host.Load(); got != "cart.shop" {
		t.Errorf("before it serves, the proxy asks of %v", got)
	}
	failed, _, stop := load(t, g.url, 2)
	a.ill.Store(true)
	checks := a.checks.Load()
	eventually(t, "the one that is ill gets nothing", func() bool {
		was := a.asked.Load()
		b.waits(t, 20)
		return a.asked.Load() == was
	})
	if got := a.checks.Load() - checks; got < 3 {
		t.Errorf("it was left out after %d checks", got)
	}
	b.ill.Store(true)
	eventually(t, "both are sent to while both are ill", func() bool {
		was := a.asked.Load()
		b.waits(t, 20)
		return a.asked.Load() > was
	})
	a.ill.Store(false)
	eventually(t, "the one that is well again gets all", func() bool {
		was := b.asked.Load()
		a.waits(t, 20)
		return b.asked.Load() == was
	})
	if stop(); failed.Load() > 0 {
		t.Errorf("%d requests failed", failed.Load())
	}
	eventually(t, "the failures are counted", func() bool {
		return g.scraped("envoy_cluster_health_check_failure", "envoy_cluster_name", name)
	})
}

// waits until a backend has had so many requests more.
func (p *patient) waits(t *testing.T, n int32) {
	was := p.asked.Load()
	eventually(t, "requests go on", func() bool { return p.asked.Load() >= was+n })
}

// pongs is an app of bytes that answers each line, while it is well.
func pongs(t *testing.T, ill *atomic.Bool, name string) mesh.Endpoint {
	return listen(t, func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			line, err := r.ReadString('\n')
			if err != nil || ill.Load() && line == "PING\n" {
				return
			}
			fmt.Fprintf(c, "PONG %s\n", name)
		}
	})
}

// TestHealthCheckOfBytes: an app that takes connections and answers none is found; one that is withdrawn goes though it
// passes its check.
func TestHealthCheckOfBytes(t *testing.T) {
	t.Parallel()
	var ill, well atomic.Bool
	a, b := pongs(t, &ill, "a"), pongs(t, &well, "b")
	p := startPassing(t, map[string]mesh.Endpoint{"cart": a})
	check := checked(v1alpha1.HealthCheck{TCP: &v1alpha1.TCPHealthCheck{Send: "PING\n", Receive: "PONG"}})
	commit(p.store, map[string]proto.Message{"cart": envoy.Cluster(mesh.Cluster{Name: "cart", Protocol: mesh.TCP, Policies: check})},
		map[string]proto.Message{"cart": envoy.Endpoints(mesh.Endpoints{Cluster: "cart", Addresses: []mesh.Endpoint{a, b}})})
	p.split(0, mesh.Backend{Cluster: "cart", Weight: 1})
	ask := func() string {
		c, err := net.Dial("tcp", p.tcp)
		if err != nil {
			return ""
		}
		defer c.Close()
		fmt.Fprintln(c, "who")
		line, _ := bufio.NewReader(c).ReadString('\n')
		return line
	}
	eventually(t, "both answer", func() bool { return ask() == "PONG a\n" })
	eventually(t, "both answer", func() bool { return ask() == "PONG b\n" })
	ill.Store(true)
	row := 0
	onlyB := func() bool {
		if row++; ask() != "PONG b\n" {
			row = 0
		}
		return row > 15
	}
	eventually(t, "only the one that is well is sent to", onlyB)
	ill.Store(false)
	eventually(t, "both answer again", func() bool { return ask() == "PONG a\n" })
	row = 0
	commit(p.store, map[string]proto.Message{"cart": envoy.Endpoints(mesh.Endpoints{Cluster: "cart", Addresses: []mesh.Endpoint{b}})})
	eventually(t, "only the one that is there is sent to", onlyB)
}

// TestHealthCheckByMTLS: between two sidecars a check reaches the app, by mTLS and as the caller; if it may not make
// the check, requests that it may make are answered all the same.
func TestHealthCheckByMTLS(t *testing.T) {
	t.Parallel()
	operatorKey, store, ports := keyPair(t, operatorName), xds.NewStore(nil), porttest.Free(t, 2)
	at := operator(t, store, operatorKey, known{})
	app1 := &patient{}
	caller := atomic.Value{}
	backend := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			caller.Store(r.Header.Get("X-Forwarded-Client-Cert"))
		}
		app1.ServeHTTP(w, r)
	})[0]
	inside := mesh.Endpoint{Address: "127.0.0.1", Port: ports[0], Identity: appID}
	in := mesh.Inbound{TrustDomain: "mesh.test", Mode: mesh.MTLSStrict, ConnectionAge: 3600e9, Guarded: true,
		Ports: []mesh.InboundPort{{Port: int32(ports[0]), Protocol: mesh.HTTP1, Mode: mesh.MTLSStrict, Service: "shop/cart", Of: 80}}}
	l := envoy.Inbound(in)
	l.Address = received(ports[0]).Address
	commitTo(store, "cart", rootsSecret(), identitySecret(t, appID), unguarded(), map[string]proto.Message{mesh.InboundListener: l, mesh.AppHTTP1: app(mesh.AppHTTP1, backend)})
	sidecarOfApp := startSidecar(t, store, at, operatorKey, "cart")
	eventually(t, "the app's sidecar is ready", sidecarOfApp.isReady)

	told := calls(t, ports[1], mesh.Peers{Identities: []string{appID}, All: true}, inside)
	const name = "service/shop/cart/80"
	told[0][name] = envoy.Cluster(mesh.Cluster{Name: name, Endpoints: name, Protocol: mesh.HTTP1, Peers: mesh.Peers{Identities: []string{appID}, All: true},
		Policies: checked(v1alpha1.HealthCheck{HTTP: &v1alpha1.HTTPHealthCheck{Path: "/healthz"}})})
	commitTo(store, "web", append(told, rootsSecret(), identitySecret(t, callerID))...)
	web := startSidecar(t, store, at, operatorKey, "web")
	url := fmt.Sprintf("http://127.0.0.1:%d/", ports[1])
	eventually(t, "the caller's sidecar serves", func() bool { return web.isReady() && status(url) == http.StatusOK })
	flags := func() string { return body(web.admin + "/clusters?format=json") }
	eventually(t, "the app is checked, and the caller is known to it", func() bool {
		who, _ := caller.Load().(string)
		return strings.Contains(who, "URI="+callerID)
	})
	if strings.Contains(flags(), "failed_active_health_check\": true") {
		t.Errorf("the app counts as ill: %s", flags())
	}
	g := guard{station: sidecarOfApp}
	g.lets(t, smi.Allow{Name: "traffictarget/shop/cart/0", Sources: []string{"shop/web"}, Request: smi.Request{Path: "/"}})
	eventually(t, "a check that is not allowed fails", func() bool { return strings.Contains(flags(), "failed_active_health_check\": true") })
	for range 20 {
		if got := status(url); got != http.StatusOK {
			t.Fatalf("what is allowed is answered %d while the check is not", got)
		}
	}
}
