package envoy

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/weft-mesh/weft/internal/mesh"
)

// passOn gives the connections of a chain to its backends, by weight, and closes the rest.
func passOn(l mesh.Listener, c mesh.Chain) *listenerv3.Filter {
	to := c.Backends
	if c.Unresolved > 0 {
		to = append(to[:len(to):len(to)], mesh.Backend{Cluster: mesh.Blackhole, Weight: c.Unresolved})
	}
	switch len(to) {
	case 0:
		return toCluster(mesh.Blackhole, source, called{}, l.Telemetry)
	case 1:
		return toCluster(to[0].Cluster, source, called{}, l.Telemetry)
	}
	proxy := bytesTo("", source, called{}, l.Telemetry)
	split := &tcpproxyv3.TcpProxy_WeightedCluster{}
	for _, b := range to {
		split.Clusters = append(split.Clusters, &tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight{Name: b.Cluster, Weight: b.Weight})
	}
	proxy.ClusterSpecifier = &tcpproxyv3.TcpProxy_WeightedClusters{WeightedClusters: split}
	return filterNamed(tcpProxyFilter, proxy)
}
