// Package locality is the section locality: proxies send to the pods that are near to them.
//
// Envoy's own routing by zone goes by the node that its bootstrap names, and a sidecar's is written before its
// pod has a Node. So the endpoints of a Service are arranged here, for each place that callers are at: as
// priorities, of which Envoy turns to the next as far as the endpoints of one fail it, and as the weights of
// localities within a priority.
package locality

import (
	"cmp"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	weightedv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3"
	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/common/v3"
	maglevv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/maglev/v3"
	ringhashv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	wrrlocalityv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/wrr_locality/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/retry"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// Section is about what is sent to Services.
var Section = room.Section[v1alpha1.Locality]{
	Name:    "locality",
	Of:      func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.Locality { return spec.Locality },
	On:      []room.Kind{room.Mesh, room.Namespace, room.Service},
	Holds:   room.Innermost[v1alpha1.Locality],
	Traffic: room.Traffic[v1alpha1.Locality]{Upstream: upstream, Bytes: true, Arrange: arrange, ByLabels: prefer, Default: distribution},
}

// prefer are the labels by which endpoints are near, the nearest first. With weights, which are of some callers
// only, they are those that hold when nothing is written: the region is among them.
func prefer(s *v1alpha1.Locality) []string {
	if len(s.Prefer) == 0 {
		return []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion}
	}
	return s.Prefer
}

// distribution is how a Service says itself that what is near is preferred.
func distribution(svc *corev1.Service) *v1alpha1.Locality {
	switch *cmp.Or(svc.Spec.TrafficDistribution, new("")) {
	case corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferClose:
		return &v1alpha1.Locality{Prefer: []string{corev1.LabelTopologyZone}}
	case corev1.ServiceTrafficDistributionPreferSameNode:
		return &v1alpha1.Locality{Prefer: []string{corev1.LabelHostname, corev1.LabelTopologyZone}}
	}
	return nil
}

// upstream has a Cluster heed how its endpoints are arranged.
func upstream(_ *v1alpha1.Locality, c *clusterv3.Cluster) {
	weigh(c)
	for _, packed := range c.TypedExtensionProtocolOptions {
		options := &upstreamhttpv3.HttpProtocolOptions{}
		if packed.UnmarshalTo(options) == nil && options.RetryPolicy != nil {
			retry.Further(options.RetryPolicy)
			packed.Value = wire.Any(options).Value
		}
	}
}

// weigh has a Cluster heed the weights of localities, in whatever way it is balanced.
func weigh(c *clusterv3.Cluster) {
	if c.LbPolicy == clusterv3.Cluster_LOAD_BALANCING_POLICY_CONFIG {
		weighExtension(c.LoadBalancingPolicy)
		return
	}
	if c.CommonLbConfig == nil {
		c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{}
	}
	c.CommonLbConfig.LocalityConfigSpecifier = &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{
		LocalityWeightedLbConfig: &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig{},
	}
}

// weighExtension does it for what only an extension balances. By reports of load it is done around that.
func weighExtension(by *clusterv3.LoadBalancingPolicy) {
	config := by.Policies[0].TypedExtensionConfig
	weighted := &commonv3.LocalityLbConfig_LocalityWeightedLbConfig{}
	ring, maglev := &ringhashv3.RingHash{}, &maglevv3.Maglev{}
	switch {
	case config.TypedConfig.UnmarshalTo(ring) == nil:
		ring.LocalityWeightedLbConfig = weighted
		config.TypedConfig = wire.Any(ring)
	case config.TypedConfig.UnmarshalTo(maglev) == nil:
		maglev.LocalityWeightedLbConfig = weighted
		config.TypedConfig = wire.Any(maglev)
	case config.TypedConfig.MessageIs(&weightedv3.ClientSideWeightedRoundRobin{}):
		inner := &clusterv3.LoadBalancingPolicy{Policies: by.Policies}
		around := &wrrlocalityv3.WrrLocality{EndpointPickingPolicy: inner}
		by.Policies = []*clusterv3.LoadBalancingPolicy_Policy{{
			TypedExtensionConfig: wire.Extension(string(around.ProtoReflect().Descriptor().FullName()), around),
		}}
	}
}
