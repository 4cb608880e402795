package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/wire"
)

// Split gives connections to backends. They keep the filter that they began with.
func Split(s mesh.Split) *corev3.TypedExtensionConfig {
	to := called{}
	if s.Service != "" {
		to = serviceCalled(s.Service, s.Port)
	}
	return &corev3.TypedExtensionConfig{Name: s.Name, TypedConfig: wire.Any(toBackends(s.Backends, s.Unresolved, to, s.Telemetry))}
}

// splitNamed has the filter of a chain come by discovery (ECDS).
func splitNamed(name string) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
		ConfigSource: adsUntilAnswered(),
		TypeUrls:     []string{wire.Any(&tcpproxyv3.TcpProxy{}).TypeUrl},
	}}}
}

// toBackends sends connections to backends by weight, and closes the unresolved share.
func toBackends(backends []mesh.Backend, unresolved uint32, to called, t v1alpha1.Telemetry) *tcpproxyv3.TcpProxy {
	if unresolved > 0 {
		backends = append(backends[:len(backends):len(backends)], mesh.Backend{Cluster: mesh.Blackhole, Weight: unresolved})
	}
	switch len(backends) {
	case 0:
		return bytesTo(mesh.Blackhole, source, to, t)
	case 1:
		return bytesTo(backends[0].Cluster, source, to, t)
	}
	proxy := bytesTo("", source, to, t)
	split := &tcpproxyv3.TcpProxy_WeightedCluster{}
	for _, b := range backends {
		split.Clusters = append(split.Clusters, &tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight{Name: b.Cluster, Weight: b.Weight})
	}
	proxy.ClusterSpecifier = &tcpproxyv3.TcpProxy_WeightedClusters{WeightedClusters: split}
	return proxy
}
