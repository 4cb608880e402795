package envoy

import (
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const (
	// unsent are the failures that prove that no backend has seen the request, so that any method may
	// be tried again: no connection, a stream refused by HTTP/2, a reset before the first byte, and the
	// word of the proxy beside the backend (unsentHeader).
	unsent = "connect-failure,refused-stream,reset-before-request,retriable-headers"
	// broken are the connection errors that a rule's own retry asks for besides.
	broken = unsent + ",reset,retriable-status-codes"

	unsentAttempts  = 3
	defaultAttempts = 2 // of a rule whose retry does not say
	hostAttempts    = 5 // to pick an endpoint that was not tried yet

	unsentBackoff = 10 * time.Millisecond
)

var previousHosts = typed(&previoushostsv3.PreviousHostsPredicate{})

// timeout is the whole request's; none unless the rule sets one.
func timeout(t *gwv1.HTTPRouteTimeouts) *durationpb.Duration {
	if t == nil {
		return durationpb.New(0)
	}
	return durationpb.New(duration(t.Request))
}

// retryUnsent is the retry policy of a Cluster, for the rules that have none of their own.
func retryUnsent() *routev3.RetryPolicy {
	return &routev3.RetryPolicy{
		RetryOn:          unsent,
		RetriableHeaders: []*routev3.HeaderMatcher{header(unsentHeader, exactly("true"))},
		NumRetries:       wrapperspb.UInt32(unsentAttempts),
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: previousHosts},
		}},
		HostSelectionRetryMaxAttempts: hostAttempts,
		RetryBackOff:                  backoff(unsentBackoff),
	}
}

// retryPolicy is a rule's own; nil leaves the Cluster's.
func retryPolicy(r *gwv1.HTTPRouteRetry, t *gwv1.HTTPRouteTimeouts) *routev3.RetryPolicy {
	if r == nil && (t == nil || t.BackendRequest == nil) {
		return nil
	}
	policy := retryUnsent()
	if t != nil && duration(t.BackendRequest) > 0 {
		policy.PerTryTimeout = durationpb.New(duration(t.BackendRequest))
	}
	if r == nil {
		return policy
	}
	policy.RetryOn = broken
	policy.NumRetries = wrapperspb.UInt32(uint32(max(orElse(r.Attempts, defaultAttempts), 0)))
	for _, code := range r.Codes {
		policy.RetriableStatusCodes = append(policy.RetriableStatusCodes, uint32(code))
	}
	if base := duration(r.Backoff); base > 0 {
		policy.RetryBackOff = backoff(base)
	}
	return policy
}

// backoff doubles from base to ten times base. Envoy waits for a random part of each interval.
func backoff(base time.Duration) *routev3.RetryPolicy_RetryBackOff {
	return &routev3.RetryPolicy_RetryBackOff{
		BaseInterval: durationpb.New(base),
		MaxInterval:  durationpb.New(10 * base),
	}
}

// duration is zero for one that is absent or that the API server would have refused.
func duration(d *gwv1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	parsed, err := time.ParseDuration(string(*d))
	if err != nil {
		return 0
	}
	return max(parsed, 0)
}
