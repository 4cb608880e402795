package loadbalancing

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	weightedv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3"
	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/common/v3"
	maglevv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/maglev/v3"
	ringhashv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/wire"
)

// extend has an extension balance a Cluster.
func extend(c *clusterv3.Cluster, config proto.Message) {
	c.LbPolicy = clusterv3.Cluster_LOAD_BALANCING_POLICY_CONFIG
	c.LoadBalancingPolicy = &clusterv3.LoadBalancingPolicy{Policies: []*clusterv3.LoadBalancingPolicy_Policy{{
		TypedExtensionConfig: wire.Extension(string(config.ProtoReflect().Descriptor().FullName()), config),
	}}}
}

func ringHash(s *v1alpha1.LoadBalancing) proto.Message {
	out := &ringhashv3.RingHash{ConsistentHashingLbConfig: hashing(s.Hash)}
	if s.RingSize != nil {
		out.MinimumRingSize = wrapperspb.UInt64(uint64(min(max(*s.RingSize, 1), 8<<20)))
	}
	return out
}

func maglev(s *v1alpha1.LoadBalancing) proto.Message {
	return &maglevv3.Maglev{ConsistentHashingLbConfig: hashing(s.Hash)}
}

func hashing(keys []v1alpha1.HashKey) *commonv3.ConsistentHashingLbConfig {
	out := &commonv3.ConsistentHashingLbConfig{}
	for _, k := range keys {
		out.HashPolicy = append(out.HashPolicy, hashPolicy(k))
	}
	return out
}

// hashPolicy is terminal: the keys after it count only for requests that have not this one.
func hashPolicy(k v1alpha1.HashKey) *routev3.RouteAction_HashPolicy {
	out := &routev3.RouteAction_HashPolicy{Terminal: true}
	switch k.Type {
	case v1alpha1.HashHeader:
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_Header_{Header: &routev3.RouteAction_HashPolicy_Header{HeaderName: k.Name}}
	case v1alpha1.HashCookie:
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_Cookie_{Cookie: cookie(k)}
	case v1alpha1.HashQueryParameter:
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_QueryParameter_{QueryParameter: &routev3.RouteAction_HashPolicy_QueryParameter{Name: k.Name}}
	default:
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_ConnectionProperties_{
			ConnectionProperties: &routev3.RouteAction_HashPolicy_ConnectionProperties{SourceIp: true},
		}
	}
	return out
}

// cookie lives for whole seconds: Envoy knows no others, and takes less than one for none.
func cookie(k v1alpha1.HashKey) *routev3.RouteAction_HashPolicy_Cookie {
	out := &routev3.RouteAction_HashPolicy_Cookie{Name: k.Name}
	if k.TTL == nil {
		return out
	}
	if out.Path = "/"; k.Path != nil {
		out.Path = *k.Path
	}
	ttl := duration(k.TTL).AsDuration()
	out.Ttl = durationpb.New((ttl + time.Second - 1).Truncate(time.Second))
	return out
}

func clientSideWeighted(s *v1alpha1.LoadBalancing) proto.Message {
	out := &weightedv3.ClientSideWeightedRoundRobin{}
	if slow := slowStart(s.SlowStart); slow != nil {
		out.SlowStartConfig = &commonv3.SlowStartConfig{
			SlowStartWindow: slow.SlowStartWindow, Aggression: slow.Aggression, MinWeightPercent: slow.MinWeightPercent,
		}
	}
	w := s.ClientSideWeighted
	if w == nil {
		return out
	}
	out.MetricNamesForComputingUtilization = w.Metrics
	out.BlackoutPeriod, out.WeightExpirationPeriod, out.WeightUpdatePeriod = duration(w.Blackout), duration(w.Expiration), duration(w.Update)
	if w.ErrorPenalty != nil {
		out.ErrorUtilizationPenalty = wrapperspb.Float(float32(*w.ErrorPenalty) / 100)
	}
	return out
}

// duration is nil if nothing is written.
func duration(d *gwv1.Duration) *durationpb.Duration {
	if d == nil {
		return nil
	}
	parsed, err := time.ParseDuration(string(*d))
	if err != nil {
		return nil // which the API server refuses
	}
	return durationpb.New(parsed)
}
