package hosts_test

import (
	"fmt"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const routes = "gateway/bench/front/80/http"

// way is one in which hostnames can reach Envoy.
type way struct {
	name string
	// serve puts n hosts and what leads to them.
	serve func(s *ads, n int)
	// add sends one host more than the n there are, and returns the nonce of the response.
	add func(s *ads, n int) int
	// listener changes the one that Weft makes.
	listener func(*hcm.HttpConnectionManager)
}

var ways = []way{
	{"VHDS", serveVHDS, addVHDS, func(*hcm.HttpConnectionManager) {}},
	{"RDS", func(s *ads, n int) { s.put(routes, table(n)) }, func(s *ads, n int) int { return s.change(routes, table(n+1)) },
		func(*hcm.HttpConnectionManager) {}},
	{"SRDS", serveSRDS, func(s *ads, n int) int { return s.change(domain(n), scoped(n)) }, byScope},
}

func domain(i int) string { return fmt.Sprintf("host-%d.test", i) }

// host is a virtual host as Weft renders it of an HTTPRoute with one rule.
func host(i int) *route.VirtualHost {
	prefix, slash := gwv1.PathMatchPathPrefix, "/"
	return envoy.VirtualHost(mesh.VirtualHost{Routes: routes, Domain: domain(i), Port: 80, Rules: []mesh.Rule{{
		Origin:   mesh.Origin{Namespace: "bench", Name: fmt.Sprintf("route-%d", i)},
		Matches:  []gwv1.HTTPRouteMatch{{Path: &gwv1.HTTPPathMatch{Type: &prefix, Value: &slash}}},
		Backends: []mesh.Backend{{Cluster: backendCluster, Weight: 1}},
	}}})
}

// table is the RouteConfiguration with every host inside.
func table(n int) *route.RouteConfiguration {
	whole := envoy.RouteConfiguration(routes)
	whole.Vhds = nil
	for i := range n {
		whole.VirtualHosts = append(whole.VirtualHosts, host(i))
	}
	return whole
}

func serveVHDS(s *ads, n int) {
	s.put(routes, envoy.RouteConfiguration(routes))
	for i := range n {
		s.put(host(i).Name, host(i))
	}
}

func addVHDS(s *ads, n int) int { return s.change(host(n).Name, host(n)) }

func serveSRDS(s *ads, n int) {
	for i := range n {
		s.put(domain(i), scoped(i))
	}
}

// scoped is a host as a scope of its own. Its key is the whole Host header: a scope can
// stand for no wildcard.
func scoped(i int) *route.ScopedRouteConfiguration {
	of := envoy.RouteConfiguration(domain(i))
	of.Vhds, of.VirtualHosts = nil, []*route.VirtualHost{host(i)}
	return &route.ScopedRouteConfiguration{Name: domain(i), RouteConfiguration: of,
		Key: &route.ScopedRouteConfiguration_Key{Fragments: []*route.ScopedRouteConfiguration_Key_Fragment{{
			Type: &route.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: domain(i)}}}}}
}

func byScope(m *hcm.HttpConnectionManager) {
	source := m.GetRds().ConfigSource
	m.RouteSpecifier = &hcm.HttpConnectionManager_ScopedRoutes{ScopedRoutes: &hcm.ScopedRoutes{
		Name: routes,
		ScopeKeyBuilder: &hcm.ScopedRoutes_ScopeKeyBuilder{Fragments: []*hcm.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder{{
			Type: &hcm.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_{
				HeaderValueExtractor: &hcm.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor{
					Name: ":authority", ExtractType: &hcm.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_Index{}}}}}},
		RdsConfigSource: source,
		ConfigSpecifier: &hcm.ScopedRoutes_ScopedRds{ScopedRds: &hcm.ScopedRds{ScopedRdsConfigSource: source}},
	}}
}

// front is Weft's listener, on loopback, with one thing about it changed.
func front(port int, change func(*hcm.HttpConnectionManager)) (*listener.Listener, error) {
	l := envoy.Listener(mesh.Listener{Name: "gateway/bench/front/80", Port: uint32(port), Chains: []mesh.Chain{{Name: "http", Routes: routes}}})
	l.Address = socket(port)
	manager := &hcm.HttpConnectionManager{}
	packed := l.FilterChains[0].Filters[0].GetTypedConfig()
	if err := packed.UnmarshalTo(manager); err != nil {
		return nil, err
	}
	change(manager)
	return l, anypb.MarshalFrom(packed, manager, proto.MarshalOptions{})
}

func socket(port int) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(port)}}}}
}
