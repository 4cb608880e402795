// Package ratelimit is the section rateLimit: how many requests are let through in a time.
package ratelimit

import (
	"cmp"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

const name = "rateLimit"

// Section is about requests. Its filters are shared: a bucket in a Route's own configuration would be one for
// each of the Routes that a rule becomes, and full again whenever any route of its port changes.
var Section = room.Section[v1alpha1.RateLimit]{
	Name:    name,
	Of:      func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.RateLimit { return spec.RateLimit },
	On:      []room.Kind{room.Mesh, room.Namespace, room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Holds:   room.Innermost[v1alpha1.RateLimit],
	Traffic: room.Traffic[v1alpha1.RateLimit]{Shared: buckets, Asking: asking, Quotas: quotas},
}

// maxValues is how many buckets of one limit are kept.
const maxValues = 10_000

// buckets has a descriptor for each limit of each policy. A request makes those of the policy that its Route
// is marked with: no other action finds its mark. A limit of all proxies together is one of each, too: what one
// of them alone would exceed it by, nobody need be asked about, and it holds when there is nobody to ask.
func buckets(said []room.Written[v1alpha1.RateLimit], at room.Port) proto.Message {
	out := &localv3.LocalRateLimit{StatPrefix: "weft"}
	for _, s := range said {
		if local := s.Says.Local; local != nil {
			add(out, s.Policy, at, "local", local.Limits, told(local.Headers))
		}
		if global := s.Says.Global; global != nil {
			add(out, s.Policy, at, "global", global.Limits, routev3.RateLimit_OFF) // the service tells of them
		}
	}
	if len(out.Descriptors) > 0 {
		enable(out)
	}
	return out
}

// add adds some of a policy's limits, each with a bucket of its own.
func add(f *localv3.LocalRateLimit, policy string, at room.Port, kind string, limits []v1alpha1.RequestLimit, tells routev3.RateLimit_XRateLimitOption) {
	for i, l := range limits {
		from, entries := asked(policy, kind+" "+strconv.Itoa(i), l, at.Gateway)
		f.RateLimits = append(f.RateLimits, &routev3.RateLimit{Actions: from, XRatelimitOption: tells})
		f.Descriptors = append(f.Descriptors, &ratelimitv3.LocalRateLimitDescriptor{Entries: entries, TokenBucket: bucket(l)})
	}
}

// limitKey is the key of what tells a policy's limits apart.
const limitKey = "limit"

// asked is what one limit of a policy looks for in a request, and what it must find to count it.
func asked(policy, name string, l v1alpha1.RequestLimit, gateway bool) (from []*routev3.RateLimit_Action, entries []*ratelimitv3.RateLimitDescriptor_Entry) {
	from = []*routev3.RateLimit_Action{marked(policy), fixed(limitKey, name)}
	entries = []*ratelimitv3.RateLimitDescriptor_Entry{{Key: room.MarkedBy, Value: policy}, {Key: limitKey, Value: name}}
	for _, p := range l.By {
		from, entries = append(from, property(p, gateway)), append(entries, entry(p))
	}
	return from, entries
}

// enable has what no limit is about pass.
func enable(f *localv3.LocalRateLimit) {
	all := &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{Numerator: 100}}
	f.FilterEnabled, f.FilterEnforced = all, all
	f.TokenBucket = &typev3.TokenBucket{MaxTokens: 1 << 31, TokensPerFill: wrapperspb.UInt32(1 << 31), FillInterval: durationpb.New(time.Second)}
	f.AlwaysConsumeDefaultTokenBucket = wrapperspb.Bool(false)
	f.MaxDynamicDescriptors = wrapperspb.UInt32(maxValues)
	f.EnableRetryAfterHeader, f.RateLimitedAsResourceExhausted = true, true
}

func bucket(l v1alpha1.RequestLimit) *typev3.TokenBucket {
	return &typev3.TokenBucket{
		MaxTokens:     uint32(burst(l)),
		TokensPerFill: wrapperspb.UInt32(uint32(max(l.Requests, 1))),
		FillInterval:  durationpb.New(per(l)),
	}
}

// burst is the size of a bucket.
func burst(l v1alpha1.RequestLimit) int32 { return max(*cmp.Or(l.Burst, &l.Requests), 1) }

func per(l v1alpha1.RequestLimit) time.Duration {
	d, err := time.ParseDuration(string(l.Per))
	if err != nil || d < time.Second {
		return time.Second
	}
	return d
}

func told(headers string) routev3.RateLimit_XRateLimitOption {
	if headers == "None" {
		return routev3.RateLimit_OFF
	}
	return routev3.RateLimit_DRAFT_VERSION_03
}
