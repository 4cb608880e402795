package envoytest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Validate asks the real Envoy whether it would take these resources: listeners, clusters,
// route configurations, virtual hosts, network filters, load assignments, secrets, or a whole
// bootstrap. What a proxy gets by discovery is put where Envoy looks at it: routes and filters
// into a listener of their own, load assignments into a static cluster.
func Validate(t testing.TB, resources ...proto.Message) {
	t.Helper()
	b := &bootstrap.Bootstrap{}
	for _, r := range resources {
		if whole, ok := r.(*bootstrap.Bootstrap); ok {
			validate(t, whole)
			continue
		}
		if b.StaticResources == nil {
			b = empty()
		}
		if err := place(b.StaticResources, r); err != nil {
			t.Fatal(err)
		}
	}
	if b.StaticResources != nil {
		validate(t, b)
	}
}

func validate(t testing.TB, b *bootstrap.Bootstrap) {
	t.Helper()
	out, err := exec.Command(Path(t), "--mode", "validate", "--config-path", write(t, b), "--log-level", "error").CombinedOutput()
	if err != nil {
		t.Errorf("Envoy %s refuses the configuration: %v\n%s", Version, err, strings.TrimSpace(string(out)))
	}
}

// write puts a bootstrap into a file.
func write(t testing.TB, b *bootstrap.Bootstrap) string {
	t.Helper()
	body, err := proto.Marshal(b)
	if err != nil {
		t.Fatalf("marshal the bootstrap: %v", err)
	}
	path := filepath.Join(t.TempDir(), "bootstrap.pb")
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// empty is a bootstrap whose resources may be discovered by ADS.
func empty() *bootstrap.Bootstrap {
	const ads = "envoytest-ads"
	return &bootstrap.Bootstrap{
		Node: &core.Node{Id: "envoytest", Cluster: "envoytest"},
		StaticResources: &bootstrap.Bootstrap_StaticResources{Clusters: []*cluster.Cluster{
			{Name: ads, ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}, ConnectTimeout: durationpb.New(1e9)},
		}},
		DynamicResources: &bootstrap.Bootstrap_DynamicResources{AdsConfig: &core.ApiConfigSource{
			ApiType: core.ApiConfigSource_DELTA_GRPC, TransportApiVersion: core.ApiVersion_V3,
			GrpcServices: []*core.GrpcService{{TargetSpecifier: &core.GrpcService_EnvoyGrpc_{EnvoyGrpc: &core.GrpcService_EnvoyGrpc{ClusterName: ads}}}},
		}},
	}
}

func place(s *bootstrap.Bootstrap_StaticResources, m proto.Message) error {
	switch r := m.(type) {
	case *listener.Listener:
		s.Listeners = append(s.Listeners, r)
	case *cluster.Cluster:
		s.Clusters = append(s.Clusters, discovered(r)...)
	case *core.TypedExtensionConfig:
		s.Listeners = append(s.Listeners, filtered(serving(len(s.Listeners), &route.RouteConfiguration{}), r))
	case *tls.Secret:
		s.Secrets = append(s.Secrets, r)
	case *endpoint.ClusterLoadAssignment:
		s.Clusters = append(s.Clusters, &cluster.Cluster{Name: fmt.Sprintf("envoytest-%d", len(s.Clusters)), LoadAssignment: r})
	case *route.VirtualHost:
		s.Listeners = append(s.Listeners, serving(len(s.Listeners), &route.RouteConfiguration{Name: r.Name, VirtualHosts: []*route.VirtualHost{r}}))
	case *route.RouteConfiguration:
		s.Listeners = append(s.Listeners, serving(len(s.Listeners), r))
	default:
		return fmt.Errorf("envoytest does not know where to put a %T", m)
	}
	return nil
}

// discovered is a cluster as it is by discovery. In a bootstrap a static one comes before ADS is there, and Envoy
// 1.40 ends by SIGSEGV if that one's secrets are to come by it; so its endpoints are looked at apart.
func discovered(c *cluster.Cluster) []*cluster.Cluster {
	if c.GetType() != cluster.Cluster_STATIC || c.TransportSocket == nil {
		return []*cluster.Cluster{c}
	}
	secured := proto.CloneOf(c)
	secured.ClusterDiscoveryType, secured.LoadAssignment = &cluster.Cluster_Type{Type: cluster.Cluster_EDS}, nil
	secured.EdsClusterConfig = &cluster.Cluster_EdsClusterConfig{EdsConfig: &core.ConfigSource{
		ResourceApiVersion: core.ApiVersion_V3, ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}},
	}}
	open := proto.CloneOf(c)
	open.Name, open.TransportSocket = c.Name+" without its secrets", nil
	return []*cluster.Cluster{secured, open}
}

// serving is a listener with that route configuration inline. Inline, Envoy would look for
// the clusters that routes name; by discovery it does not.
func serving(n int, r *route.RouteConfiguration) *listener.Listener {
	r = proto.CloneOf(r)
	r.Vhds = nil
	if r.ValidateClusters == nil {
		r.ValidateClusters = wrapperspb.Bool(false)
	}
	return &listener.Listener{
		Name: fmt.Sprintf("envoytest-%d", n),
		Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(20000 + n)}}}},
		FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{
			Name: "envoy.filters.network.http_connection_manager",
			ConfigType: &listener.Filter_TypedConfig{TypedConfig: packed(&hcm.HttpConnectionManager{
				StatPrefix:     "envoytest",
				RouteSpecifier: &hcm.HttpConnectionManager_RouteConfig{RouteConfig: r},
				HttpFilters: []*hcm.HttpFilter{{Name: "envoy.filters.http.router",
					ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: packed(&router.Router{})}}},
			})},
		}}}},
	}
}

// filtered has a filter in a listener: one of HTTP in the connection manager, one that passes bytes on in
// its place, and any other before it.
func filtered(l *listener.Listener, r *core.TypedExtensionConfig) *listener.Listener {
	chain, kind := l.FilterChains[0], r.TypedConfig.GetTypeUrl()
	one := &listener.Filter{Name: r.Name, ConfigType: &listener.Filter_TypedConfig{TypedConfig: r.TypedConfig}}
	switch {
	case strings.Contains(kind, ".filters.http."):
		m := &hcm.HttpConnectionManager{}
		if err := chain.Filters[0].GetTypedConfig().UnmarshalTo(m); err != nil {
			panic(err) // serving made it
		}
		m.HttpFilters = append([]*hcm.HttpFilter{{Name: r.Name, ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: r.TypedConfig}}}, m.HttpFilters...)
		chain.Filters[0].ConfigType = &listener.Filter_TypedConfig{TypedConfig: packed(m)}
	case strings.Contains(kind, ".tcp_proxy."):
		chain.Filters = []*listener.Filter{one}
	default:
		chain.Filters = append([]*listener.Filter{one}, chain.Filters...)
	}
	return l
}

func packed(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err) // a message of this file
	}
	return a
}
