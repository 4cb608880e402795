package envoy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/xds"
)

// The Cluster of a balancer, and its listeners of HTTP and of TCP.
const (
	balancedCluster = "service/shop/cart/80"
	balancedHTTP    = "gateway/shop/web/80"
	balancedTCP     = "gateway/shop/web/9000"
)

// balancer is a real Envoy that follows a store, and balances what it sends to backends as a section says.
type balancer struct {
	*gateway
	t          *testing.T
	store      *xds.Store
	protocol   mesh.Protocol
	tcp, admin string // addresses
	backends   []mesh.Endpoint
	ill        int // how many of the backends, from the first on, are as those that health checks found to be ill
}

func startBalancer(t *testing.T, protocol mesh.Protocol, section string, backends ...mesh.Endpoint) *balancer {
	t.Helper()
	own, store, ports := served(t, 5)
	b := &balancer{t: t, store: store, protocol: protocol, backends: backends, tcp: local(ports[4]), admin: local(ports[0])}
	b.say(section)
	b.place(backends...)
	commit(store, map[string]proto.Message{
		balancedHTTP: envoy.Listener(mesh.Listener{Name: balancedHTTP, Port: ports[3], Chains: []mesh.Chain{{Name: "http", Routes: balancedHTTP}}}),
		balancedTCP:  envoy.Listener(mesh.Listener{Name: balancedTCP, Port: ports[4], Chains: []mesh.Chain{{Name: "tcp", Split: balancedTCP, Raw: true}}}),
	}, map[string]proto.Message{
		balancedHTTP: envoy.RouteConfiguration(balancedHTTP),
		balancedTCP:  envoy.Split(mesh.Split{Name: balancedTCP, Backends: []mesh.Backend{{Cluster: balancedCluster, Weight: 1}}}),
	}, map[string]proto.Message{
		balancedHTTP + "/*": envoy.VirtualHost(virtualHost(t, balancedHTTP, "*", "[{backendRefs: [{name: "+balancedCluster+"}]}]")),
	})
	b.gateway = run(t, bootstrap(t, own), time.Second)
	b.url, b.ready, b.stats = "http://"+local(ports[3]), "http://"+local(ports[1]), "http://"+local(ports[2])
	eventually(t, "the proxy is ready", func() bool { return status(b.ready+envoy.ReadyPath) == 200 })
	return b
}

// balancing is a section loadBalancing as it is written.
func balancing(t *testing.T, section string) []room.Decided {
	t.Helper()
	says := &v1alpha1.LoadBalancing{}
	if err := yaml.UnmarshalStrict([]byte(section), says); err != nil {
		t.Fatalf("%s: %v", section, err)
	}
	return []room.Decided{{Section: "loadBalancing", Policy: "shop/cart", Says: says}}
}

// say has the Cluster be balanced as a section says, and tells the version of it.
func (b *balancer) say(section string) string {
	b.t.Helper()
	c := envoy.Cluster(mesh.Cluster{Name: balancedCluster, Protocol: b.protocol, Policies: balancing(b.t, section)})
	commit(b.store, map[string]proto.Message{balancedCluster: c})
	return xds.Marshal(balancedCluster, c).Version
}

// change is say, until the proxy does so.
func (b *balancer) change(section string) {
	b.t.Helper()
	version := b.say(section)
	eventually(b.t, "the proxy balances by "+section, func() bool {
		return strings.Contains(b.ask("/config_dump?resource=dynamic_active_clusters"), `"version_info": "`+version+`"`)
	})
}

// place has the Cluster lead to some backends.
func (b *balancer) place(backends ...mesh.Endpoint) {
	all := envoy.Endpoints(mesh.Endpoints{Cluster: balancedCluster, Addresses: backends})
	for i := range b.ill {
		all.Endpoints[0].LbEndpoints[i].HealthStatus = corev3.HealthStatus_UNHEALTHY
	}
	commit(b.store, map[string]proto.Message{balancedCluster: all})
}

// move is place, until the proxy knows those backends and no others.
func (b *balancer) move(backends ...mesh.Endpoint) {
	b.t.Helper()
	b.place(backends...)
	eventually(b.t, fmt.Sprintf("the proxy knows %d backends, %d of them ill", len(backends), b.ill), func() bool {
		known, ill := 0, 0
		for line := range strings.Lines(b.ask("/clusters")) {
			if strings.HasPrefix(line, balancedCluster+"::") && strings.Contains(line, "::health_flags::") {
				known++
				ill += strings.Count(line, "failed_eds_health")
			}
		}
		return known == len(backends) && ill == b.ill
	})
}

// ask is what the admin interface says.
func (b *balancer) ask(path string) string {
	b.t.Helper()
	response, err := http.Get("http://" + b.admin + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(body)
}

// numbered are backends that say their number in their answers.
func numbered(t *testing.T, n int, answer func(backend int, w http.ResponseWriter)) (out []mesh.Endpoint) {
	t.Helper()
	for i := range n {
		out = append(out, serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Backend", fmt.Sprint(i))
			if answer != nil {
				answer(i, w)
			}
		})...)
	}
	return out
}

// by is who answers a request; headers are in pairs.
func (b *balancer) by(path string, headers ...string) string {
	b.t.Helper()
	response, _ := b.send(b.t, "GET", path, headers...)
	return response.Header.Get("Backend")
}

// shares are how many of n requests each backend answers, one request after the other.
func (b *balancer) shares(n int) map[string]int {
	b.t.Helper()
	out := map[string]int{}
	for range n {
		out[b.by("/")]++
	}
	return out
}
