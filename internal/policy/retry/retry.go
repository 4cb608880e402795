// Package retry is the section retry: which requests are sent again, how often and when. What is always sent
// again, without any policy too, is here as well, so that no policy takes it away.
package retry

import (
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// Section is about requests, but for the budget, which is about what is sent to Services.
var Section = room.Section[v1alpha1.Retry]{
	Name:    "retry",
	Of:      func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.Retry { return spec.Retry },
	On:      []room.Kind{room.Mesh, room.Namespace, room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Holds:   room.Innermost[v1alpha1.Retry],
	Traffic: room.Traffic[v1alpha1.Retry]{Upstream: budget, Request: requests, OwnRetries: more, Problem: problem},
}

const (
	defaultAttempts = 3 // most of what is asked for here may have done its work
	reset           = "reset"
)

// problem is that a budget names no destination.
func problem(s *v1alpha1.Retry, on room.Kind, _ bool) string {
	if s.Budget != nil && (on == room.Gateway || on == room.HTTPRoute || on == room.GRPCRoute) {
		return ".budget is about what is sent to the pods of a Service: put it into a policy whose target is the Service"
	}
	return ""
}

// budget leaves a bound in numbers, which circuitBreaker has set before, as it is.
func budget(s *v1alpha1.Retry, c *clusterv3.Cluster) {
	for _, t := range c.GetCircuitBreakers().GetThresholds() {
		if of := t.RetryBudget; of != nil && s.Budget != nil {
			of.BudgetPercent = &typev3.Percent{Value: float64(room.Hundredths(s.Budget.Percent, 20).Value)}
			of.MinRetryConcurrency = room.Number(s.Budget.MinRetries, 10)
		}
	}
}

func attempts(s *v1alpha1.Retry) int32 {
	if s.Attempts == nil {
		return defaultAttempts
	}
	return *s.Attempts
}

// more says whether anything is retried beside what always is, for which the Clusters have a policy.
func more(s *v1alpha1.Retry) bool { return attempts(s) > 0 }

func requests(s *v1alpha1.Retry, r *routev3.Route) {
	if action := r.GetRoute(); action != nil && more(s) {
		action.RetryPolicy = policy(s)
	}
}

func policy(s *v1alpha1.Retry) *routev3.RetryPolicy {
	p := Unsent()
	p.NumRetries = wrapperspb.UInt32(uint32(attempts(s)))
	on := conditions(s)
	if slices.ContainsFunc(on, breaks) {
		Broken(p)
	}
	p.RetryOn = strings.Join(slices.Concat(strings.Split(p.RetryOn, ","), on), ",")
	for _, code := range s.Codes {
		p.RetriableStatusCodes = append(p.RetriableStatusCodes, uint32(code))
	}
	for _, h := range s.Headers {
		p.RetriableHeaders = append(p.RetriableHeaders, asking(h))
	}
	if d := room.Length(s.PerTryTimeout); d > 0 {
		p.PerTryTimeout = durationpb.New(d)
	}
	if s.Backoff != nil {
		p.RetryBackOff = pause(s.Backoff)
	}
	if s.Pods != v1alpha1.RetryAny {
		Further(p)
	} else {
		p.RetryHostPredicate, p.HostSelectionRetryMaxAttempts = nil, 0
	}
	return p
}

// conditions are what is retried beside what always is, in Envoy's words. An attempt that took too long is
// reset, which Envoy retries only where it is told to retry resets.
func conditions(s *v1alpha1.Retry) (out []string) {
	for _, c := range s.Conditions {
		if c != v1alpha1.RetryConnectFailure { // which always is
			out = append(out, string(c))
		}
	}
	if len(s.Conditions)+len(s.Codes)+len(s.Headers)+len(s.GRPCCodes) == 0 {
		out = append(out, string(v1alpha1.RetryGatewayError), "unavailable") // the same, in gRPC's words
	}
	if s.PerTryTimeout != nil && !slices.ContainsFunc(out, breaks) {
		out = append(out, reset)
	}
	if len(s.Codes) > 0 {
		out = append(out, "retriable-status-codes")
	}
	for _, c := range s.GRPCCodes {
		out = append(out, strings.ReplaceAll(strings.ToLower(string(c)), "_", "-"))
	}
	return out
}

// breaks says whether a condition holds for requests without an answer.
func breaks(condition string) bool {
	return slices.Contains([]string{"5xx", "gateway-error", reset}, condition)
}

func asking(h v1alpha1.RetryHeader) *routev3.HeaderMatcher {
	if h.Value != nil {
		return wire.Header(string(h.Name), wire.Exactly(*h.Value))
	}
	return &routev3.HeaderMatcher{Name: string(h.Name), HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}}
}

func pause(b *v1alpha1.RetryBackoff) *routev3.RetryPolicy_RetryBackOff {
	base := room.Length(b.Base)
	if base == 0 {
		base = UnsentBackoff
	}
	out := Backoff(base)
	if most := room.Length(b.Max); most > 0 {
		out.MaxInterval = durationpb.New(max(most, base))
	}
	return out
}
