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
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

// answered says how a port of this machine answers who has a key and is a user.
func answered(port uint32, path, key, user string) int {
	request, err := http.NewRequest("GET", fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		return 0
	}
	request.Header.Set("X-API-Key", key)
	request.Header.Set("Authorization", basic(user, "secret"))
	response, err := client.Do(request)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// TestCredentialsAtPods: a sidecar asks for keys and passwords by the port that is called; probes need none, and what
// it tells of itself has none.
func TestCredentialsAtPods(t *testing.T) {
	t.Parallel()
	g := startGuard(t)
	asks := func(ports ...mesh.GuardedPort) {
		commitTo(g.store, g.account, map[string]proto.Message{mesh.Guards: envoy.InboundGuards(mesh.InboundGuards{Ports: ports})})
		g.knows(t)
		g.knows(t) // what was committed before the first has been taken once the second has
	}
	keys := keyDemand(t, room.AtPort, "{}", room.Pairs{"key-of-ann": "ann"})
	users := userDemand(t, room.AtPort, "{realm: x}", room.Pairs{"ann": ofSecret})
	asks(mesh.GuardedPort{Port: int32(g.web), By: []room.Decided{keys}}, mesh.GuardedPort{Port: int32(g.loose), By: []room.Decided{users}})
	for name, c := range map[string]struct {
		port            uint32
		path, key, user string
		status          int
	}{
		"with a key":                      {g.web, "/", "key-of-ann", "", 200},
		"with another":                    {g.web, "/", "x", "ann", 401},
		"with none":                       {g.web, "/", "", "ann", 401},
		"as a user":                       {g.loose, "/", "", "ann", 200},
		"as another":                      {g.loose, "/", "key-of-ann", "bob", 401},
		"a probe":                         {g.probed, "/live", "", "", 200},
		"what is no probe, from the node": {g.probed, "/", "key-of-ann", "ann", 403},
	} {
		if got := answered(c.port, c.path, c.key, c.user); got != c.status {
			t.Errorf("%s: %d, want %d", name, got, c.status)
		}
	}
	g.shows(t, g.station.admin)
	asks()
	if web, loose := answered(g.web, "/", "", ""), answered(g.loose, "/", "", ""); web != 200 || loose != 200 {
		t.Errorf("where nothing is asked for: %d and %d", web, loose)
	}
}

// TestCredentialsChangeAtPods: while keys and users come and go, whose key stays fails never, who has none gets in
// never, and what came and went holds.
func TestCredentialsChangeAtPods(t *testing.T) {
	t.Parallel()
	g := startGuard(t)
	says := func(i int) {
		commitTo(g.store, g.account, map[string]proto.Message{mesh.Guards: envoy.InboundGuards(mesh.InboundGuards{Ports: []mesh.GuardedPort{{Port: int32(g.web), By: changing(t, room.AtPort, i)}}})})
	}
	says(0)
	g.knows(t)
	g.knows(t)
	changesUnder(t, g.web, says)
}

// TestCredentialsChangeAtGateways is the same of a Gateway's routes.
func TestCredentialsChangeAtGateways(t *testing.T) {
	t.Parallel()
	const routes, backend = "gateway/shop/web/80", "service/shop/cart/80"
	store, ports := xds.NewStore(nil), porttest.Free(t, 4)
	certificate := keyPair(t, operatorName)
	door := knock{token: "who I am", heard: make(chan string, 10), open: make(chan bool)}
	close(door.open)
	p := sample
	p.XDSAddress, p.XDSName = operate(t, certificate, xds.Options{Store: store, Facts: xds.NewFacts(), Authenticator: door, Linger: mesh.Linger}), operatorName
	p.AdminPort, p.ReadyPort, p.StatsPort = ports[0], ports[1], ports[2]
	p.TokenSDSPath, p.RootsSDSPath = files(t, door.token, certificate.Chain)
	says := func(i int) {
		host := virtualHost(t, routes, "*", fmt.Sprintf("[{backendRefs: [{name: %s}]}]", backend))
		host.Rules[0].Guards = changing(t, room.AtRoute, i)
		commit(store, map[string]proto.Message{host.Name(): envoy.VirtualHost(host)})
	}
	commit(store, map[string]proto.Message{
		routes:  envoy.Listener(mesh.Listener{Name: routes, Port: ports[3], Chains: []mesh.Chain{{Name: "http", Routes: routes}}}),
		backend: envoy.Cluster(mesh.Cluster{Name: backend, Protocol: mesh.HTTP1}),
	}, map[string]proto.Message{
		routes:  envoy.RouteConfiguration(routes),
		backend: envoy.Endpoints(mesh.Endpoints{Cluster: backend, Addresses: echoes(t, backend)[backend]}),
	})
	says(0)
	g := run(t, bootstrap(t, p), 0)
	eventually(t, "the proxy is ready", func() bool { return status(fmt.Sprintf("http://127.0.0.1:%d", p.ReadyPort)+envoy.ReadyPath) == 200 })
	changesUnder(t, ports[3], says)
	g.shows(t, fmt.Sprintf("http://127.0.0.1:%d", ports[0]))
}

// changing is what is demanded at the time i: the key and the user that are always there, and one of that time alone.
func changing(t *testing.T, at room.Level, i int) []room.Decided {
	return []room.Decided{
		keyDemand(t, at, "{}", room.Pairs{"key-of-ann": "ann", fmt.Sprintf("key-of-%d", i): "guest"}),
		userDemand(t, at, "{realm: x}", room.Pairs{"ann": ofSecret, fmt.Sprintf("guest-%d", i): ofSecret}),
	}
}

// changesUnder has what is demanded change while requests are made.
func changesUnder(t *testing.T, port uint32, says func(i int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var count atomic.Int64
	var all sync.WaitGroup
	defer func() {
		cancel()
		all.Wait()
		t.Logf("%d requests under 20 changes", count.Load())
	}()
	for _, c := range []struct {
		key, user string
		status    int
	}{{"key-of-ann", "ann", 200}, {"key-of-ann", "bob", 401}, {"x", "ann", 401}} {
		all.Go(func() {
			for ctx.Err() == nil {
				if got := answered(port, "/", c.key, c.user); got != c.status {
					t.Errorf("with the key %q, as user %q: %d, want %d", c.key, c.user, got, c.status)
				}
				count.Add(1)
			}
		})
	}
	for i := 1; i <= 20; i++ {
		says(i)
		key, user, before := fmt.Sprintf("key-of-%d", i), fmt.Sprintf("guest-%d", i), count.Load()
		eventually(t, "a key and a user that came are known", func() bool {
			return answered(port, "/", key, "ann") == 200 && answered(port, "/", "key-of-ann", user) == 200
		})
		if old := answered(port, "/", fmt.Sprintf("key-of-%d", i-1), "ann"); old != 401 {
			t.Errorf("a key that went: %d", old)
		}
		eventually(t, "requests end", func() bool { return count.Load() >= before+6 })
	}
}
