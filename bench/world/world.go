// Package world is what the servers under measurement serve: services of two endpoints,
// a cluster each, one listener and one route table for all. It also holds what they
// have in common as servers: TLS 1.3 with a certificate of their own, a bearer token,
// and the control port on which changes are asked for.
package world

import (
	"fmt"
	"strconv"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// RouteName is the name of the route table, Changed the service whose endpoints change.
const (
	RouteName = "80"
	Changed   = 0
)

// Name is that of a service's cluster.
func Name(i int) string { return fmt.Sprintf("outbound|80||svc-%d.default.svc.cluster.local", i) }

func ads() *core.ConfigSource {
	return &core.ConfigSource{ResourceApiVersion: core.ApiVersion_V3, ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}}}
}

// Cluster is a service's, with endpoints by EDS.
func Cluster(i int) *cluster.Cluster {
	return &cluster.Cluster{Name: Name(i), ConnectTimeout: durationpb.New(10e9),
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
		EdsClusterConfig:     &cluster.Cluster_EdsClusterConfig{EdsConfig: ads(), ServiceName: Name(i)}}
}

// Endpoints are a service's two, before any change.
func Endpoints(i int) *endpoint.ClusterLoadAssignment {
	return assignment(i, address("10.1", 2*i), address("10.1", 2*i+1))
}

// EndpointsAfter are those of the changed service after a change: one address is new.
func EndpointsAfter(change int) *endpoint.ClusterLoadAssignment {
	return assignment(Changed, address("10.1", 0), address("10.250", change))
}

func address(net string, n int) string { return fmt.Sprintf("%s.%d.%d", net, n>>8&255, n&255) }

func assignment(i int, ips ...string) *endpoint.ClusterLoadAssignment {
	l := &endpoint.LocalityLbEndpoints{}
	for _, ip := range ips {
		l.LbEndpoints = append(l.LbEndpoints, &endpoint.LbEndpoint{HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{
			Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
				Address: ip, PortSpecifier: &core.SocketAddress_PortValue{PortValue: 8080}}}}}}})
	}
	return &endpoint.ClusterLoadAssignment{ClusterName: Name(i), Endpoints: []*endpoint.LocalityLbEndpoints{l}}
}

// Listener is the one whose routes are the table.
func Listener() *listener.Listener {
	h, err := anypb.New(&hcm.HttpConnectionManager{StatPrefix: RouteName,
		RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{ConfigSource: ads(), RouteConfigName: RouteName}}})
	if err != nil {
		panic(err) // a message of this file
	}
	return &listener.Listener{Name: "0.0.0.0_80", FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{
		Name: "hcm", ConfigType: &listener.Filter_TypedConfig{TypedConfig: h}}}}}}
}

// Routes is the route table of so many services. Change sets a header on the first route.
func Routes(services, change int) *route.RouteConfiguration {
	table := &route.RouteConfiguration{Name: RouteName}
	for i := range services {
		r := &route.Route{Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}},
			Action: &route.Route_Route{Route: &route.RouteAction{ClusterSpecifier: &route.RouteAction_Cluster{Cluster: Name(i)}}}}
		if i == Changed {
			r.RequestHeadersToAdd = []*core.HeaderValueOption{{Header: &core.HeaderValue{Key: "x-rev", Value: "rev-" + strconv.Itoa(change)}}}
		}
		h := "svc-" + strconv.Itoa(i)
		table.VirtualHosts = append(table.VirtualHosts, &route.VirtualHost{Name: h, Routes: []*route.Route{r},
			Domains: []string{h, h + ".default", h + ".default.svc", h + ".default.svc.cluster.local", address("172.20", i)}})
	}
	return table
}
