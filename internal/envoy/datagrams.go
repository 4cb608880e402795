package envoy

import (
	"fmt"
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	udpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/udp/udp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/wire"
)

// The limits of a port of UDP. Anybody can make a session: a datagram from an address of which none
// came in udpIdle. It holds a socket and some 5 kB until none came or went for so long.
const (
	datagramLimit = 9216 // bytes; a larger datagram is dropped
	udpIdle       = 30 * time.Second
	udpSessions   = 30_000 // per port and proxy; datagrams that would begin a further one are dropped
)

// datagramListener is a port of UDP. All datagrams of a session go to one endpoint, for as long as its
// Cluster has it.
func datagramListener(l mesh.Listener) *listenerv3.Listener {
	address := anyAddress(l.Port)
	address.GetSocketAddress().Protocol = corev3.SocketAddress_UDP
	return &listenerv3.Listener{
		Name:              l.Name,
		Address:           address,
		TrafficDirection:  corev3.TrafficDirection_INBOUND,
		UdpListenerConfig: &listenerv3.UdpListenerConfig{DownstreamSocketConfig: datagramSocket()},
		ListenerFilters: []*listenerv3.ListenerFilter{listenerFilter("envoy.filters.udp_listener.udp_proxy", &udpproxyv3.UdpProxyConfig{
			StatPrefix:           fmt.Sprintf("port_%d", l.Port),
			RouteSpecifier:       allTo(l.Datagrams),
			IdleTimeout:          durationpb.New(udpIdle),
			UpstreamSocketConfig: datagramSocket(),
		})},
	}
}

// datagramSocket bounds what one read takes. By generic receive offload one buffer would hold 64
// datagrams.
func datagramSocket() *corev3.UdpSocketConfig {
	return &corev3.UdpSocketConfig{MaxRxDatagramSize: wrapperspb.UInt64(datagramLimit), PreferGro: wrapperspb.Bool(false)}
}

// allTo is the one way that is not deprecated; Envoy 1.40 warns that it is a work in progress.
func allTo(cluster string) *udpproxyv3.UdpProxyConfig_Matcher {
	return &udpproxyv3.UdpProxyConfig_Matcher{Matcher: &xdsmatcherv3.Matcher{
		OnNoMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
			Action: &xdscorev3.TypedExtensionConfig{Name: "route", TypedConfig: wire.Any(&udpproxyv3.Route{Cluster: cluster})},
		}},
	}}
}

// DatagramCluster is what a port of UDP sends to. Round robin is the one way that takes weights and needs
// no answer to a datagram to go by.
func DatagramCluster(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads()},
		ConnectTimeout:       durationpb.New(connectTimeout),
		LbPolicy:             clusterv3.Cluster_ROUND_ROBIN,
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections: wrapperspb.UInt32(udpSessions),
		}}},
	}
}
