package match

import (
	"regexp"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// TestNarrow: a rule takes what those callers send, whose names are no patterns, and nobody else.
func TestNarrow(t *testing.T) {
	m := &routev3.RouteMatch{}
	Section.Match(room.Written[v1alpha1.Match]{Says: &v1alpha1.Match{From: []v1alpha1.Caller{{Namespace: "shop", ServiceAccount: "web.v1"}, {Namespace: "back"}}}}, m)
	if len(m.FilterState) != 1 || m.FilterState[0].Key != room.CallerState {
		t.Fatalf("it looks at %v", m.FilterState)
	}
	whole := regexp.MustCompile("^(?:" + m.FilterState[0].GetStringMatch().GetSafeRegex().Regex + ")$")
	for caller, want := range map[string]bool{
		"shop/web.v1": true, "back/web": true, "back/": true,
		"shop/web-v1": false, "shop/web.v1.x": false, "shop/": false, "backs/web": false, "a/back/web": false, "": false,
	} {
		if whole.MatchString(caller) != want {
			t.Errorf("%q: %v", caller, !want)
		}
	}
}
