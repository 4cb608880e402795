package envoy

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/internal/wire"
)

// FixedCluster is one of those that every sidecar has: to the app under a protocol, to wherever a
// connection was going, or to nowhere.
func FixedCluster(name string) *clusterv3.Cluster {
	if name == mesh.Blackhole {
		return deadEnd(name)
	}
	c := &clusterv3.Cluster{
		Name:                          name,
		ClusterDiscoveryType:          &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST},
		LbPolicy:                      clusterv3.Cluster_CLUSTER_PROVIDED,
		ConnectTimeout:                durationpb.New(connectTimeout),
		CircuitBreakers:               breakers(nil),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
	}
	if name == mesh.Passthrough {
		c.UpstreamConnectionOptions = &clusterv3.UpstreamConnectionOptions{TcpKeepalive: keepalive()}
		return c
	}
	c.UpstreamBindConfig = &corev3.BindConfig{
		SourceAddress:        tcp(sidecar.AppSource4.String(), 0).GetSocketAddress(),
		ExtraSourceAddresses: []*corev3.ExtraSourceAddress{{Address: tcp(sidecar.AppSource6.String(), 0).GetSocketAddress()}},
	}
	if name == mesh.AppHTTPS {
		c.TransportSocket = &corev3.TransportSocket{Name: tlsSocketName, ConfigType: &corev3.TransportSocket_TypedConfig{
			TypedConfig: wire.Any(&tlsv3.UpstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{}}),
		}}
	}
	if name != mesh.AppTCP {
		options := spokenTo(name == mesh.AppHTTP2, false)
		options.RetryPolicy = retryInbound()
		c.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpOptions: wire.Any(options)}
	}
	return c
}
