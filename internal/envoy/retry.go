package envoy

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/policy/retry"
	"github.com/weft-mesh/weft/internal/policy/room"
)

const (
	// broken are the connection errors that a rule's own retry asks for besides those that are always retried.
	broken = ",reset,retriable-status-codes"

	defaultAttempts = 2 // of a rule whose retry does not say
)

// timeout is the whole request's; none unless the rule sets one.
func timeout(t *gwv1.HTTPRouteTimeouts) *durationpb.Duration {
	if t == nil {
		return durationpb.New(0)
	}
	return durationpb.New(room.Length(t.Request))
}

// retryPolicy is a rule's own; nil leaves the Cluster's.
func retryPolicy(r *gwv1.HTTPRouteRetry, t *gwv1.HTTPRouteTimeouts) *routev3.RetryPolicy {
	if r == nil && (t == nil || t.BackendRequest == nil) {
		return nil
	}
	policy := retry.Unsent()
	retry.Further(policy)
	if t != nil {
		policy.PerTryTimeout = bound(t.BackendRequest)
	}
	if r == nil {
		return policy
	}
	retry.Broken(policy)
	policy.RetryOn += broken
	policy.NumRetries = wrapperspb.UInt32(uint32(max(orElse(r.Attempts, defaultAttempts), 0)))
	for _, code := range r.Codes {
		policy.RetriableStatusCodes = append(policy.RetriableStatusCodes, uint32(code))
	}
	if base := room.Length(r.Backoff); base > 0 {
		policy.RetryBackOff = retry.Backoff(base)
	}
	return policy
}

// bound is how long something may take; nil: without end.
func bound(d *gwv1.Duration) *durationpb.Duration {
	if room.Length(d) == 0 {
		return nil
	}
	return durationpb.New(room.Length(d))
}
