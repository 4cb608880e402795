package envoy_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

// While the filter changes, its server comes under other names, the former ones go, it is spoken to in another
// way and other headers are told of, no request that it allows fails, and none that it refuses passes.
func TestExternalAuthChanges(t *testing.T) {
	const routes, backend = "gateway/shop/web/80", "service/shop/cart/80"
	store, ports := xds.NewStore(nil), porttest.Free(t, 4)
	certificate := keyPair(t, "weft-xds.weft-system.svc")
	door := knock{token: "who I am", heard: make(chan string, 10), open: make(chan bool)}
	close(door.open)
	p := sample
	p.XDSAddress, p.XDSName = operate(t, certificate, xds.Options{Store: store, Facts: xds.NewFacts(), Authenticator: door, Linger: mesh.Linger}), "weft-xds.weft-system.svc"
	p.AdminPort, p.ReadyPort, p.StatsPort = ports[0], ports[1], ports[2]
	p.TokenSDSPath, p.RootsSDSPath = files(t, door.token, certificate.Chain)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Basic x" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	nameOf := func(i int) string { return fmt.Sprintf("service/shop/authz-%d/80", i) }
	spoken := func(i int, budget uint32) map[string]proto.Message {
		return map[string]proto.Message{nameOf(i): envoy.Cluster(mesh.Cluster{Name: nameOf(i), Endpoints: nameOf(i), Protocol: mesh.HTTP1, Retries: &mesh.RetryBudget{Percent: budget}})}
	}
	asks := func(i int) map[string]proto.Message {
		name := nameOf(i)
		host := virtualHost(t, routes, "*", fmt.Sprintf(`[{filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: %s}, http: {allowedHeaders: [x-%d]}}}], backendRefs: [{name: %s}]}]`, name, i, backend))
		return map[string]proto.Message{mesh.Asking(name): envoy.AskingCluster(mesh.Asking(name)), host.Name(): envoy.VirtualHost(host)}
	}
	at := func(i int) map[string]proto.Message {
		return map[string]proto.Message{nameOf(i): envoy.Endpoints(mesh.Endpoints{Cluster: nameOf(i), Addresses: server})}
	}
	gone := func(i int) map[string]proto.Message {
		return map[string]proto.Message{nameOf(i): (*clusterv3.Cluster)(nil), mesh.Asking(nameOf(i)): (*clusterv3.Cluster)(nil)}
	}
	commit(store, map[string]proto.Message{
		routes:  envoy.Listener(mesh.Listener{Name: routes, Port: ports[3], Chains: []mesh.Chain{{Name: "http", Routes: routes}}}),
		backend: envoy.Cluster(mesh.Cluster{Name: backend, Protocol: mesh.HTTP1}),
	}, map[string]proto.Message{
		routes:  envoy.RouteConfiguration(routes),
		backend: envoy.Endpoints(mesh.Endpoints{Cluster: backend, Addresses: echoes(t, backend)[backend]}),
	}, asks(0), spoken(0, 1), at(0))
	g := run(t, bootstrap(t, p), 0)
	g.url = "http://127.0.0.1:" + fmt.Sprint(ports[3])
	eventually(t, "the proxy is ready", func() bool { return status(fmt.Sprintf("http://127.0.0.1:%d", p.ReadyPort)+envoy.ReadyPath) == 200 })
	ended := g.keepAsking(t)
	for i := range 50 {
		for _, change := range [][]map[string]proto.Message{{asks(i + 1), spoken(i+1, 1), at(i + 1), gone(i)}, {spoken(i+1, 2)}} {
			before := ended()
			commit(store, change...)
			eventually(t, "requests end", func() bool { return ended() >= before+20 })
		}
	}
	t.Logf("%d requests under 100 changes", ended())
}

// keepAsking sends requests that are to be allowed and others that are to be refused until the test ends, and
// counts them.
func (g *gateway) keepAsking(t *testing.T) (ended func() int64) {
	ctx, cancel := context.WithCancel(t.Context())
	var count atomic.Int64
	var all sync.WaitGroup
	for header, want := range map[string]int{"Basic x": 200, "Basic y": 401} {
		all.Go(func() {
			for ctx.Err() == nil {
				request, err := http.NewRequest("POST", g.url, nil)
				if err != nil {
					t.Error(err)
					return
				}
				request.Header.Set("Authorization", header)
				response, err := client.Do(request)
				if err != nil {
					t.Errorf("%s: %v", header, err)
					return
				}
				response.Body.Close()
				if response.StatusCode != want {
					t.Errorf("%s: %d, want %d", header, response.StatusCode, want)
				}
				count.Add(1)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return count.Load
}
