package envoy_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// While the filter changes, its server comes under other names and other headers are told of, no request
// that it allows fails, and none that it refuses passes. The Clusters that it leaves stay: Envoy ends with a
// Cluster the questions that are under way.
func TestExternalAuthChanges(t *testing.T) {
	const routes, backend = "gateway/shop/web/80", "service/shop/cart/80"
	store, ports := xds.NewStore(nil), freePorts(t, 4)
	certificate := keyPair(t, "weft-xds.weft-system.svc")
	door := knock{token: "who I am", heard: make(chan string, 10), open: make(chan bool)}
	close(door.open)
	p := sample
	p.XDSAddress, p.XDSName = operator(t, store, certificate, door), "weft-xds.weft-system.svc"
	p.AdminPort, p.ReadyPort, p.StatsPort = ports[0], ports[1], ports[2]
	p.TokenSDSPath, p.RootsSDSPath = files(t, door.token, certificate.Chain)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Basic x" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	asks := func(i int) map[string]proto.Message {
		name := fmt.Sprintf("service/shop/authz-%d/80", i)
		host := virtualHost(t, routes, "*", fmt.Sprintf(`[{filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: %s}, http: {allowedHeaders: [x-%d]}}}], backendRefs: [{name: %s}]}]`, name, i, backend))
		return map[string]proto.Message{name: envoy.Cluster(mesh.Cluster{Name: name, Protocol: mesh.HTTP1}), mesh.Asking(name): envoy.AskingCluster(mesh.Asking(name)), host.Name(): envoy.VirtualHost(host)}
	}
	at := func(i int) map[string]proto.Message {
		name := fmt.Sprintf("service/shop/authz-%d/80", i)
		return map[string]proto.Message{name: envoy.Endpoints(mesh.Endpoints{Cluster: name, Addresses: server})}
	}
	commit(store, map[string]proto.Message{
		routes:  envoy.Listener(mesh.Listener{Name: routes, Port: ports[3], Chains: []mesh.Chain{{Name: "http", Routes: routes}}}),
		backend: envoy.Cluster(mesh.Cluster{Name: backend, Protocol: mesh.HTTP1}),
	}, map[string]proto.Message{
		routes:  envoy.RouteConfiguration(routes),
		backend: envoy.Endpoints(mesh.Endpoints{Cluster: backend, Addresses: echoes(t, backend)[backend]}),
	}, asks(0), at(0))
	g := run(t, bootstrap(t, p), 0)
	g.url = "http://127.0.0.1:" + fmt.Sprint(ports[3])
	eventually(t, "the proxy is ready", func() bool { return status(fmt.Sprintf("http://127.0.0.1:%d", p.ReadyPort)+envoy.ReadyPath) == 200 })
	ended := g.keepAsking(t)
	for i := range 50 {
		before := ended()
		commit(store, asks(i+1), at(i+1))
		eventually(t, "requests end", func() bool { return ended() >= before+20 })
	}
	t.Logf("%d requests under 50 changes", ended())
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
