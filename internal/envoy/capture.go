package envoy

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	originalv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	netstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/egress"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/internal/wire"
)

// onDemandTimeout is how long a first connection to a pod's own IP waits for the operator.
const onDemandTimeout = 3 * time.Second

// Outbound catches what the app sends. What a ServiceListener has the address of goes there; pods' own
// IPs are asked of the operator; the rest is the outside.
func Outbound(o mesh.Outbound) *listenerv3.Listener {
	outside := mesh.Passthrough
	if o.Egress == mesh.EgressDeny {
		outside = mesh.Blackhole
	}
	l := captured(mesh.OutboundListener, sidecar.OutboundPort, corev3.TrafficDirection_OUTBOUND)
	l.UseOriginalDst = wrapperspb.Bool(true) // hands connections over to the ServiceListeners
	if len(o.PodRanges) > 0 {
		l.FilterChains = []*listenerv3.FilterChain{directChain(o)}
	}
	proxy := bytesTo(outside, source, called{}, o.Telemetry)
	if o.Shadow != "" {
		denied := trial{reporter: source, section: egress.Section.Name, policy: o.Shadow, pods: o.Identity}
		denied.ofConnections(proxy, called{}, o.Telemetry)
	}
	l.DefaultFilterChain = &listenerv3.FilterChain{Name: "outside", Filters: []*listenerv3.Filter{filterNamed(tcpProxyFilter, proxy)}}
	return l
}

// captured is a listener that connections are redirected to.
func captured(name string, port uint32, direction corev3.TrafficDirection) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:                          name,
		Address:                       anyAddress(port),
		TrafficDirection:              direction,
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
		ListenerFilters:               []*listenerv3.ListenerFilter{listenerFilter("envoy.filters.listener.original_dst", &originalv3.OriginalDst{})},
	}
}

func directChain(o mesh.Outbound) *listenerv3.FilterChain {
	chain := &listenerv3.FilterChain{Name: "pods", FilterChainMatch: &listenerv3.FilterChainMatch{}}
	for _, r := range o.PodRanges {
		chain.FilterChainMatch.PrefixRanges = append(chain.FilterChainMatch.PrefixRanges,
			&corev3.CidrRange{AddressPrefix: r.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(r.Bits()))})
	}
	chain.Filters = []*listenerv3.Filter{
		filterNamed("envoy.filters.network.set_filter_state", &netstatev3.Config{OnNewConnection: []*filterstatev3.FilterStateValue{{
			Key: &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: "envoy.tcp_proxy.cluster"},
			Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
				Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
					Specifier: &corev3.DataSource_InlineString{InlineString: mesh.DirectPrefix + "%DOWNSTREAM_LOCAL_ADDRESS%"},
				}},
			}},
		}}}),
		filterNamed(tcpProxyFilter, &tcpproxyv3.TcpProxy{
			StatPrefix:         "pods",
			ClusterSpecifier:   &tcpproxyv3.TcpProxy_Cluster{Cluster: mesh.Blackhole},
			MaxConnectAttempts: wrapperspb.UInt32(1),
			OnDemand:           &tcpproxyv3.TcpProxy_OnDemand{OdcdsConfig: ads(), Timeout: durationpb.New(onDemandTimeout)},
			AccessLog:          append(tcpLogs(source, o.Telemetry), tcpSignals(source, called{})...),
			AccessLogOptions:   tcpLogOptions(),
		}),
	}
	return chain
}

const tcpProxyFilter = "envoy.filters.network.tcp_proxy"

// toCluster passes bytes on, and counts them.
func toCluster(cluster string, r reporter, to called, t v1alpha1.Telemetry) *listenerv3.Filter {
	return filterNamed(tcpProxyFilter, bytesTo(cluster, r, to, t))
}

// fromPeer passes on the bytes of a peer once it is known who that is.
func fromPeer(cluster string, to called, t v1alpha1.Telemetry) *tcpproxyv3.TcpProxy {
	proxy := bytesTo(cluster, destination, to, t)
	proxy.UpstreamConnectMode = tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_TLS_HANDSHAKE
	proxy.MaxEarlyDataBytes = wrapperspb.UInt32(0)
	return proxy
}

func bytesTo(cluster string, r reporter, to called, t v1alpha1.Telemetry) *tcpproxyv3.TcpProxy {
	return &tcpproxyv3.TcpProxy{
		StatPrefix:       "tcp",
		ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: cluster},
		AccessLog:        append(tcpLogs(r, t), tcpSignals(r, to)...),
		AccessLogOptions: tcpLogOptions(),
	}
}

func filterNamed(name string, config proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: wire.Any(config)}}
}

func listenerFilter(name string, config proto.Message) *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{Name: name, ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: wire.Any(config)}}
}

// DirectCluster is one pod's ip:port. Its app is spoken to as the caller speaks: bytes go through.
func DirectCluster(d mesh.Direct) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name:                 d.Name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(connectTimeout),
	}
	if d.Nobody {
		return c
	}
	c.LoadAssignment = oneEndpoint(d.Name, tcp(d.Address, d.Port))
	c.CircuitBreakers, c.UpstreamConnectionOptions = breakers(nil), &clusterv3.UpstreamConnectionOptions{TcpKeepalive: keepalive()}
	if d.Identity != "" {
		c.TransportSocket = peerSocket([]string{d.Identity}, []string{offerTCP})
	}
	return c
}
