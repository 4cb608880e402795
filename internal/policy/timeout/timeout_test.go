package timeout

import (
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

func in(d string) *gwv1.Duration { return (*gwv1.Duration)(&d) }

// TestTimeouts: each field bounds what it names, and leaves the rest as it is.
func TestTimeouts(t *testing.T) {
	for name, s := range map[string]*v1alpha1.Timeout{
		"request": {Request: in("1s")}, "idle": {Idle: in("2s")}, "stream": {Stream: in("3s")}, "connect": {Connect: in("4s")}, "none": {},
		"unbounded": {Request: in("0s"), Idle: in("0s"), Stream: in("0s")},
	} {
		r, c := &routev3.Route{Action: &routev3.Route_Route{Route: &routev3.RouteAction{}}}, &clusterv3.Cluster{}
		Section.Request(s, r)
		Section.Upstream(s, c)
		a := r.GetRoute()
		for _, got := range []struct {
			field string
			set   bool
			is    time.Duration
			asked *gwv1.Duration
		}{
			{"request", a.Timeout != nil, a.Timeout.AsDuration(), s.Request},
			{"idle", a.IdleTimeout != nil, a.IdleTimeout.AsDuration(), s.Idle},
			{"stream", a.MaxStreamDuration != nil, a.MaxStreamDuration.GetMaxStreamDuration().AsDuration(), s.Stream},
			{"connect", c.ConnectTimeout != nil, c.ConnectTimeout.AsDuration(), s.Connect},
		} {
			if want, _ := bound(got.asked); got.set != (got.asked != nil) || got.is != want {
				t.Errorf("%s: %s is set %v, to %s", name, got.field, got.set, got.is)
			}
		}
	}
	redirect := &routev3.Route{Action: &routev3.Route_Redirect{}}
	Section.Request(&v1alpha1.Timeout{Request: in("1s")}, redirect)
	if redirect.GetRoute() != nil {
		t.Error("a redirect sends to somewhere")
	}
}

// TestWhereItMeansNothing: connect names no destination at a Gateway or a route, and is all that means something
// to what is not HTTP.
func TestWhereItMeansNothing(t *testing.T) {
	for _, kind := range Section.On {
		bad := Section.Problem(&v1alpha1.Timeout{Connect: in("1s")}, kind, false) != ""
		if want := kind == room.Gateway || kind == room.HTTPRoute || kind == room.GRPCRoute; bad != want {
			t.Errorf("connect at %s is wrong: %v", kind, bad)
		}
		if problem := Section.Problem(&v1alpha1.Timeout{Request: in("1s")}, kind, true); problem != "" {
			t.Errorf("request at %s: %s", kind, problem)
		}
	}
	for s, want := range map[*v1alpha1.Timeout]bool{
		{Connect: in("1s")}: true, {Connect: in("1s"), Request: in("1s")}: true, {Idle: in("1s")}: false, {Stream: in("1s")}: false,
	} {
		if got := Section.Fits(s, "tcp"); got != want || !Section.Fits(s, "http2") {
			t.Errorf("%+v means something to TCP: %v", s, got)
		}
	}
}
