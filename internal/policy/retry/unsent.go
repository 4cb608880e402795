package retry

import (
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	previousprioritiesv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/priority/previous_priorities/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/wire"
)

// UnsentHeader on an answer of the proxy beside an app says how far the request came. UnsentTrue: nothing of
// it was sent to the app, so that any method may be tried again. UnsentFalse: it was, and the app broke it off
// before it answered; to who asks this proxy that looks like an answer of 503.
const (
	UnsentHeader = "x-weft-unsent"
	UnsentTrue   = "true"
	UnsentFalse  = "false"
)

const (
	// unsent are the failures that prove that no backend has seen the request, so that any method may
	// be tried again: no connection, a stream refused by HTTP/2, a reset before the first byte, and the
	// word of the proxy beside the backend.
	unsent = "connect-failure,refused-stream,reset-before-request,retriable-headers"

	// UnsentAttempts is how often such requests are sent again where nobody says anything of retries. Where five
	// pods of six end at once, and the proxy has not heard of it yet, three more attempts find the sixth twice in
	// three times, five always.
	UnsentAttempts = 5

	// UnsentBackoff is the first pause before they are.
	UnsentBackoff = 10 * time.Millisecond

	// hostAttempts is how often Envoy draws for an endpoint that was not tried yet: of three of which two were, 20
	// draws miss the third one once in 3,000 times, five once in seven.
	hostAttempts = 20
)

// Unsent is the policy of what is always retried.
func Unsent() *routev3.RetryPolicy {
	return &routev3.RetryPolicy{
		RetryOn:          unsent,
		RetriableHeaders: []*routev3.HeaderMatcher{wire.Header(UnsentHeader, wire.Exactly(UnsentTrue))},
		NumRetries:       wrapperspb.UInt32(UnsentAttempts),
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: previousHosts},
		}},
		HostSelectionRetryMaxAttempts: hostAttempts,
		RetryBackOff:                  Backoff(UnsentBackoff),
	}
}

// Further has what is sent again go to endpoints that are further away than those that were tried, while there are
// some: where few are near, what failed with one of them would fail with the others.
func Further(p *routev3.RetryPolicy) {
	p.RetryPriority = &routev3.RetryPolicy_RetryPriority{
		Name:       "envoy.retry_priorities.previous_priorities",
		ConfigType: &routev3.RetryPolicy_RetryPriority_TypedConfig{TypedConfig: previousPriorities},
	}
}

// Broken has a policy that retries resets retry those too that an app made behind its proxy.
func Broken(p *routev3.RetryPolicy) {
	p.RetriableHeaders = append(p.RetriableHeaders, wire.Header(UnsentHeader, wire.Exactly(UnsentFalse)))
}

// Backoff doubles from base to ten times base. Envoy waits for a random part of each interval.
func Backoff(base time.Duration) *routev3.RetryPolicy_RetryBackOff {
	return &routev3.RetryPolicy_RetryBackOff{
		BaseInterval: durationpb.New(base),
		MaxInterval:  durationpb.New(10 * base),
	}
}

var (
	previousHosts      = wire.Any(&previoushostsv3.PreviousHostsPredicate{})
	previousPriorities = wire.Any(&previousprioritiesv3.PreviousPrioritiesConfig{UpdateFrequency: 1})
)
