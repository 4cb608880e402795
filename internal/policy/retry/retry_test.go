package retry

import (
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// made is what a section, as people write it, makes of a Route.
func made(t *testing.T, text string) (*v1alpha1.Retry, *routev3.RetryPolicy) {
	t.Helper()
	s := roomtest.Written[v1alpha1.Retry](t, text)
	r := &routev3.Route{Action: &routev3.Route_Route{Route: &routev3.RouteAction{}}}
	requests(s, r)
	return s, r.GetRoute().RetryPolicy
}

// TestWhatIsRetried: whatever a policy says, what no pod has seen is retried, and no more than it says.
func TestWhatIsRetried(t *testing.T) {
	for text, want := range map[string]struct {
		on     string
		broken bool // also behind their proxies
	}{
		"{}":                                             {"gateway-error,unavailable", true},
		"{conditions: [5xx]}":                            {"5xx", true},
		"{conditions: [reset, connect-failure]}":         {"reset", true},
		"{conditions: [connect-failure]}":                {"", false},
		"{codes: [500, 429]}":                            {"retriable-status-codes", false},
		"{headers: [{name: x-again}]}":                   {"", false},
		"{grpcCodes: [UNAVAILABLE, RESOURCE_EXHAUSTED]}": {"unavailable,resource-exhausted", false},
		"{codes: [500], perTryTimeout: 1s}":              {"reset,retriable-status-codes", true},
		"{conditions: [5xx], perTryTimeout: 1s}":         {"5xx", true},
	} {
		s, p := made(t, text)
		if !more(s) || strings.TrimPrefix(strings.TrimPrefix(p.RetryOn, unsent), ",") != want.on || p.GetNumRetries().GetValue() != defaultAttempts {
			t.Errorf("%s: %s", text, p)
		}
		if p.RetriableHeaders[0].GetStringMatch().GetExact() != UnsentTrue {
			t.Errorf("%s: requests that no app has seen are not retried: %v", text, p.RetriableHeaders)
		}
		if is := slices.ContainsFunc(p.RetriableHeaders, func(h *routev3.HeaderMatcher) bool { return h.GetStringMatch().GetExact() == UnsentFalse }); is != want.broken {
			t.Errorf("%s: requests that an app broke off behind its proxy: %v", text, is)
		}
	}
}

func TestHowOften(t *testing.T) {
	_, p := made(t, `{attempts: 1, codes: [500, 429], perTryTimeout: 250ms, headers: [{name: x-again}, {name: x-say, value: again}], backoff: {base: 20ms, max: 1s}, pods: Any}`)
	b := p.RetryBackOff
	if p.NumRetries.Value != 1 || p.PerTryTimeout.AsDuration() != 250*time.Millisecond || b.BaseInterval.AsDuration() != 20*time.Millisecond || b.MaxInterval.AsDuration() != time.Second {
		t.Errorf("times: %v", p)
	}
	if c := p.RetriableStatusCodes; len(c) != 2 || c[0] != 500 || c[1] != 429 {
		t.Errorf("codes: %v", c)
	}
	h := p.RetriableHeaders[len(p.RetriableHeaders)-2:]
	if h[0].Name != "x-again" || !h[0].GetPresentMatch() || h[1].GetStringMatch().GetExact() != "again" {
		t.Errorf("headers: %v", h)
	}
	if len(p.RetryHostPredicate) != 0 {
		t.Errorf("pods: Any leaves some out: %v", p.RetryHostPredicate)
	}
	_, p = made(t, "{}")
	if len(p.RetryHostPredicate) != 1 || p.HostSelectionRetryMaxAttempts == 0 {
		t.Errorf("pods that were tried are tried again: %v", p)
	}
	for text, want := range map[string][2]time.Duration{
		"{}": {UnsentBackoff, 10 * UnsentBackoff}, "{backoff: {base: 1s}}": {time.Second, 10 * time.Second}, "{backoff: {max: 15ms}}": {UnsentBackoff, 15 * time.Millisecond},
	} {
		_, p := made(t, text)
		if p.RetryBackOff.BaseInterval.AsDuration() != want[0] || p.RetryBackOff.MaxInterval.AsDuration() != want[1] {
			t.Errorf("%s: pauses %v", text, p.RetryBackOff)
		}
	}
}

// TestSwitchedOff: attempts 0 leaves the Cluster's policy, which retries what no pod has seen.
func TestSwitchedOff(t *testing.T) {
	if s, p := made(t, "{attempts: 0}"); more(s) || p != nil {
		t.Errorf("a policy of its own: %v", p)
	}
	redirect := &routev3.Route{Action: &routev3.Route_Redirect{}}
	requests(&v1alpha1.Retry{Codes: []gwv1.HTTPRouteRetryStatusCode{500}}, redirect)
	if redirect.GetRoute() != nil {
		t.Error("a redirect sends to somewhere")
	}
}

// TestBudget: what is unset of a budget is as without one, and a bound in numbers stays.
func TestBudget(t *testing.T) {
	of := &clusterv3.CircuitBreakers_Thresholds_RetryBudget{MinRetryConcurrency: wrapperspb.UInt32(3)}
	c := &clusterv3.Cluster{CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{RetryBudget: of}, {}}}}
	budget(&v1alpha1.Retry{}, c)
	if of.BudgetPercent != nil || of.MinRetryConcurrency.Value != 3 {
		t.Errorf("without a budget: %v", of)
	}
	budget(&v1alpha1.Retry{Budget: &v1alpha1.RetryBudget{Percent: new(int32(0))}}, c)
	if of.BudgetPercent == nil || of.BudgetPercent.Value != 0 || of.MinRetryConcurrency.Value != 10 {
		t.Errorf("no percent: %v", of)
	}
	if c.CircuitBreakers.Thresholds[1].RetryBudget != nil {
		t.Error("a bound in numbers is overridden")
	}
	for _, on := range []room.Kind{room.Gateway, room.HTTPRoute} {
		if problem(&v1alpha1.Retry{Budget: &v1alpha1.RetryBudget{}}, on, false) == "" || problem(&v1alpha1.Retry{}, on, false) != "" {
			t.Errorf("a budget about a %s", on)
		}
	}
}
