// Package loadbalancing is the section loadBalancing: which of a Service's pods gets the next request.
//
// What Envoy's Cluster can say itself is said there, where locality can add its part. Hashes and reports of
// load are only in the extensions: theirs is the hash policy too, so that a Cluster is balanced alike
// whichever Route sends to it.
package loadbalancing

import (
	"slices"
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section is about what is sent to Services.
var Section = room.Section[v1alpha1.LoadBalancing]{
	Name:    "loadBalancing",
	Of:      func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.LoadBalancing { return spec.LoadBalancing },
	On:      []room.Kind{room.Mesh, room.Namespace, room.Service},
	Holds:   room.Innermost[v1alpha1.LoadBalancing],
	Traffic: room.Traffic[v1alpha1.LoadBalancing]{Upstream: balance, Fits: fits},
}

// fits says whether connections of a protocol have what it goes by: of bytes nothing is known but who sends them.
func fits(s *v1alpha1.LoadBalancing, protocol string) bool {
	return protocol == "http1" || protocol == "http2" || !onlyRequests(s)
}

// onlyRequests is that it goes by something of requests.
func onlyRequests(s *v1alpha1.LoadBalancing) bool {
	switch s.Algorithm {
	case v1alpha1.AlgorithmRingHash, v1alpha1.AlgorithmMaglev:
		return !slices.ContainsFunc(s.Hash, func(k v1alpha1.HashKey) bool { return k.Type == v1alpha1.HashSourceIP })
	}
	return s.Algorithm == v1alpha1.AlgorithmClientSideWeighted
}

func balance(s *v1alpha1.LoadBalancing, c *clusterv3.Cluster) {
	choose(s, c)
	if s.PanicThreshold != nil {
		if c.CommonLbConfig == nil {
			c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{}
		}
		c.CommonLbConfig.HealthyPanicThreshold = &typev3.Percent{Value: float64(room.Hundredths(s.PanicThreshold, 0).Value)}
	}
}

func choose(s *v1alpha1.LoadBalancing, c *clusterv3.Cluster) {
	switch s.Algorithm {
	case v1alpha1.AlgorithmRoundRobin:
		c.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
		if s.SlowStart != nil {
			c.LbConfig = &clusterv3.Cluster_RoundRobinLbConfig_{RoundRobinLbConfig: &clusterv3.Cluster_RoundRobinLbConfig{SlowStartConfig: slowStart(s.SlowStart)}}
		}
	case v1alpha1.AlgorithmRandom:
		c.LbPolicy = clusterv3.Cluster_RANDOM
	case v1alpha1.AlgorithmRingHash:
		extend(c, ringHash(s))
	case v1alpha1.AlgorithmMaglev:
		extend(c, maglev(s))
	case v1alpha1.AlgorithmClientSideWeighted:
		extend(c, clientSideWeighted(s))
	default:
		c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
		leastRequest(s, c)
	}
}

func leastRequest(s *v1alpha1.LoadBalancing, c *clusterv3.Cluster) {
	if s.Choices == nil && s.SlowStart == nil {
		return
	}
	config := &clusterv3.Cluster_LeastRequestLbConfig{SlowStartConfig: slowStart(s.SlowStart)}
	if s.Choices != nil {
		config.ChoiceCount = wrapperspb.UInt32(uint32(max(*s.Choices, 2)))
	}
	c.LbConfig = &clusterv3.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: config}
}

// slowStart is nil without one.
func slowStart(s *v1alpha1.SlowStart) *clusterv3.Cluster_SlowStartConfig {
	if s == nil {
		return nil
	}
	out := &clusterv3.Cluster_SlowStartConfig{SlowStartWindow: duration(&s.Window), Aggression: aggression(s)}
	if s.MinimumShare != nil {
		out.MinWeightPercent = &typev3.Percent{Value: float64(room.Hundredths(s.MinimumShare, 0).Value)}
	}
	return out
}

// aggression has no runtime key that is set: Envoy wants the field to have one.
func aggression(s *v1alpha1.SlowStart) *corev3.RuntimeDouble {
	if s.Aggression == nil {
		return nil
	}
	value, err := strconv.ParseFloat(*s.Aggression, 64)
	if err != nil || value <= 0 { // which the API server refuses
		return nil
	}
	return &corev3.RuntimeDouble{DefaultValue: value, RuntimeKey: "weft.slow_start_aggression"}
}
