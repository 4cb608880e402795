// Package envoy renders the mesh's model as Envoy's protobufs, one file per kind of resource.
//
//	mesh.Listener ──→ Listener ──RDS──→ RouteConfiguration ──VHDS──→ VirtualHost ←── mesh.VirtualHost
//	mesh.Secret ────→ Secret ←──SDS──┘                        CDS, EDS: Cluster, Endpoints
//
// Every function is pure and total: an invalid part of a route is left out or answered 500, never an
// error. What was wrong with it is package mesh's to say, in a condition.
package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// ads says that a resource comes over the proxy's one stream to the operator.
func ads() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}

// adsUntilAnswered is ads without the 15 s after which Envoy goes on without the resource: for those
// without which a proxy would turn requests away.
func adsUntilAnswered() *corev3.ConfigSource {
	source := ads()
	source.InitialFetchTimeout = durationpb.New(0)
	return source
}

func tcp(address string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       address,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

// anyAddress is both families' wildcard address.
func anyAddress(port uint32) *corev3.Address {
	address := tcp("::", port)
	address.GetSocketAddress().Ipv4Compat = true
	return address
}
