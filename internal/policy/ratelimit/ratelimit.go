// Package ratelimit is the section rateLimit: how many requests are let through in a time.
package ratelimit

import (
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

// Section is about requests. Its filter is shared: a bucket in a Route's own configuration would be one for
// each of the Routes that a rule becomes, and full again whenever any route of its port changes.
var Section = room.Section[v1alpha1.RateLimit]{
	Name:    name,
	Of:      func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.RateLimit { return spec.RateLimit },
	On:      []room.Kind{room.Mesh, room.Namespace, room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Holds:   room.Innermost[v1alpha1.RateLimit],
	Traffic: room.Traffic[v1alpha1.RateLimit]{Shared: buckets},
}

// maxValues is how many buckets of one limit are kept.
const maxValues = 10_000

// buckets has a descriptor for each limit of each policy. A request makes those of the policy that its Route
// is marked with: no other action finds its mark.
func buckets(said []room.Written[v1alpha1.RateLimit], gateway bool) proto.Message {
	out := &localv3.LocalRateLimit{StatPrefix: "weft"}
	for _, s := range said {
		if s.Says.Local == nil {
			continue
		}
		for i, l := range s.Says.Local.Limits {
			from, entries := asked(s.Policy, i, l, gateway)
			out.RateLimits = append(out.RateLimits, &routev3.RateLimit{Actions: from, XRatelimitOption: told(s.Says.Local.Headers)})
			out.Descriptors = append(out.Descriptors, &ratelimitv3.LocalRateLimitDescriptor{Entries: entries, TokenBucket: bucket(l)})
		}
	}
	if len(out.Descriptors) > 0 {
		enable(out)
	}
	return out
}

// asked is what one limit of a policy looks for in a request, and what it must find to count it.
func asked(policy string, i int, l v1alpha1.RequestLimit, gateway bool) (from []*routev3.RateLimit_Action, entries []*ratelimitv3.RateLimitDescriptor_Entry) {
	const key = "limit"
	number := strconv.Itoa(i)
	from = []*routev3.RateLimit_Action{marked(policy), fixed(key, number)}
	entries = []*ratelimitv3.RateLimitDescriptor_Entry{{Key: room.MarkedBy, Value: policy}, {Key: key, Value: number}}
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
	per, err := time.ParseDuration(string(l.Per))
	if err != nil || per < time.Second {
		per = time.Second
	}
	size := l.Requests
	if l.Burst != nil {
		size = *l.Burst
	}
	return &typev3.TokenBucket{
		MaxTokens:     uint32(max(size, 1)),
		TokensPerFill: wrapperspb.UInt32(uint32(max(l.Requests, 1))),
		FillInterval:  durationpb.New(per),
	}
}

func told(headers string) routev3.RateLimit_XRateLimitOption {
	if headers == "None" {
		return routev3.RateLimit_OFF
	}
	return routev3.RateLimit_DRAFT_VERSION_03
}
