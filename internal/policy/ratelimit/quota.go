package ratelimit

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ratelimitconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/ratelimit/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	globalv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ratelimit/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/quota"
)

// Cluster is the one that the quota service is asked through.
const Cluster = "quota"

// patience is how long a request waits for an answer, before it goes on without one.
const patience = 50 * time.Millisecond

// asking asks about the limits that all proxies count together, by the names that quotas have; nil: there are
// none. What it is answered holds what the caller is told, so it adds nothing itself.
func asking(said []room.Written[v1alpha1.RateLimit], at room.Port) proto.Message {
	out := &globalv3.RateLimit{
		Domain: cmp.Or(at.Routes, "none"), Timeout: durationpb.New(patience),
		RateLimitedAsResourceExhausted: true, DisableXEnvoyRatelimitedHeader: true,
		RateLimitService: &ratelimitconfigv3.RateLimitServiceConfig{
			TransportApiVersion: corev3.ApiVersion_V3,
			GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: Cluster, SkipEnvoyHeaders: true},
			}},
		},
	}
	for _, s := range said {
		if s.Says.Global == nil {
			continue
		}
		ids := identified(s.Says.Global.Limits)
		for i, l := range s.Says.Global.Limits {
			from, _ := asked(s.Policy, ids[i], l, at.Gateway)
			out.RateLimits = append(out.RateLimits, &routev3.RateLimit{Actions: from})
		}
	}
	if len(said) > 0 && len(out.RateLimits) == 0 {
		return nil
	}
	return out
}

// quotas are the limits that all proxies count together.
func quotas(s *v1alpha1.RateLimit) (out []quota.Limit) {
	if s.Global == nil {
		return nil
	}
	ids := identified(s.Global.Limits)
	for i, l := range s.Global.Limits {
		limit := quota.Limit{ID: ids[i], Requests: int(max(l.Requests, 1)), Per: per(l), Burst: int(burst(l)), Told: s.Global.Headers != "None"}
		for _, p := range l.By {
			limit.By = append(limit.By, quota.Property{Value: p.Value, Caller: p.Type == "Caller"})
		}
		out = append(out, limit)
	}
	return out
}

// identified are the IDs of a policy's limits: what each counts by and, of those that count by the same, which
// it is.
func identified(limits []v1alpha1.RequestLimit) (ids []string) {
	same := map[string]int{}
	for _, l := range limits {
		text, err := json.Marshal(l.By)
		if err != nil {
			panic(err) // they are plain data
		}
		sum := sha256.Sum256(text)
		by := hex.EncodeToString(sum[:6])
		ids = append(ids, by+" "+strconv.Itoa(same[by]))
		same[by]++
	}
	return ids
}
