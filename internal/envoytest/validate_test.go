package envoytest_test

import (
	"testing"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoytest"
)

// refusals counts what Validate reports.
type refusals struct {
	testing.TB
	n int
}

func (r *refusals) Errorf(string, ...any) { r.n++ }

func ads() *core.ConfigSource {
	return &core.ConfigSource{ResourceApiVersion: core.ApiVersion_V3, ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}}}
}

func host(name, pattern string) *route.VirtualHost {
	return &route.VirtualHost{Name: name, Domains: []string{"*"}, Routes: []*route.Route{{
		Match:  &route.RouteMatch{PathSpecifier: &route.RouteMatch_SafeRegex{SafeRegex: &matcher.RegexMatcher{Regex: pattern}}},
		Action: &route.Route_Route{Route: &route.RouteAction{ClusterSpecifier: &route.RouteAction_Cluster{Cluster: "elsewhere"}}}}}}
}

func address(ip string) *endpoint.ClusterLoadAssignment {
	return &endpoint.ClusterLoadAssignment{ClusterName: "a", Endpoints: []*endpoint.LocalityLbEndpoints{{LbEndpoints: []*endpoint.LbEndpoint{{
		HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: &core.Address{Address: &core.Address_SocketAddress{
			SocketAddress: &core.SocketAddress{Address: ip, PortSpecifier: &core.SocketAddress_PortValue{PortValue: 80}}}}}}}}}}}
}

func TestValidate(t *testing.T) {
	good := []proto.Message{
		&cluster.Cluster{Name: "a", ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS}, EdsClusterConfig: &cluster.Cluster_EdsClusterConfig{EdsConfig: ads()}},
		&route.RouteConfiguration{Name: "r", Vhds: &route.Vhds{ConfigSource: ads()}},
		host("r/one", "/[a-z]+"), host("r/two", "/.*"), address("10.0.0.1"),
		&tls.Secret{Name: "s", Type: &tls.Secret_GenericSecret{GenericSecret: &tls.GenericSecret{}}},
	}
	envoytest.Validate(t, good...)
	envoytest.Validate(t, &bootstrap.Bootstrap{})
	bad := map[string]proto.Message{
		"pattern": host("r/one", "("), "address": address("nowhere"),
		"bootstrap": &bootstrap.Bootstrap{StaticResources: &bootstrap.Bootstrap_StaticResources{Clusters: []*cluster.Cluster{{}}}},
	}
	for name, m := range bad {
		r := &refusals{TB: t}
		if envoytest.Validate(r, m); r.n == 0 {
			t.Errorf("%s: Envoy took it", name)
		}
	}
}
