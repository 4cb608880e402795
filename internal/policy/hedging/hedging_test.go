package hedging

import (
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/retry"
)

// TestHedging: alone, it sends again as often as it says; where retry holds too, the greater number counts.
func TestHedging(t *testing.T) {
	two, one := int32(2), int32(1)
	retried := func(attempts int32) *routev3.RouteAction {
		r := &routev3.Route{Action: &routev3.Route_Route{Route: &routev3.RouteAction{}}}
		retry.Section.Request(&v1alpha1.Retry{Attempts: &attempts}, r)
		return r.GetRoute()
	}
	for name, c := range map[string]struct {
		requests *int32
		before   *routev3.RouteAction
		want     uint32
	}{
		"alone":                 {nil, &routev3.RouteAction{}, 1},
		"alone, twice":          {&two, &routev3.RouteAction{}, 2},
		"retry has more":        {&one, retried(3), 3},
		"retry has less":        {&two, retried(1), 2},
		"retry is switched off": {&one, retried(0), 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := &routev3.Route{Action: &routev3.Route_Route{Route: c.before}}
			if p := c.before.RetryPolicy; p != nil {
				p.PerTryTimeout = durationpb.New(time.Hour)
			}
			s := &v1alpha1.Hedging{Delay: "100ms", Requests: c.requests}
			Section.Request(s, r)
			a := r.GetRoute()
			if !Section.OwnRetries(s) || !a.HedgePolicy.GetHedgeOnPerTryTimeout() || a.RetryPolicy.PerTryTimeout.AsDuration() != 100*time.Millisecond || a.RetryPolicy.NumRetries.GetValue() != c.want {
				t.Errorf("%v", a)
			}
			if len(a.RetryPolicy.RetryHostPredicate) != 1 || a.RetryPolicy.RetryOn == "" {
				t.Errorf("it may go to the pod that is slow: %v", a.RetryPolicy)
			}
		})
	}
	if s := (&v1alpha1.Hedging{Delay: "soon"}); Section.OwnRetries(s) {
		t.Error("a delay that cannot be read")
	}
}
