package fault

import (
	"regexp"
	"strings"
	"testing"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// matcherOf says what a Route does about which requests.
func matcherOf(t *testing.T, text string) *xdsmatcherv3.Matcher {
	t.Helper()
	r := &routev3.Route{Action: &routev3.Route_Route{Route: &routev3.RouteAction{}}}
	inject(room.Written[v1alpha1.Fault]{Says: roomtest.Written[v1alpha1.Fault](t, text)}, nil, r)
	route := &compositev3.CompositePerRoute{}
	roomtest.Unpack(t, r.TypedPerFilterConfig[Section.Filter.Name], route)
	return route.Matcher
}

// made is what a Route does: about calls of gRPC, or other requests.
func made(t *testing.T, text string, ofGRPC bool) *faultv3.HTTPFault {
	t.Helper()
	m, action, out := matcherOf(t, text), &compositev3.ExecuteFilterAction{}, &faultv3.HTTPFault{}
	do := m.OnNoMatch
	if list := m.GetMatcherList(); list != nil && ofGRPC {
		do = list.Matchers[0].OnMatch
	}
	roomtest.Unpack(t, do.GetAction().TypedConfig, action)
	roomtest.Unpack(t, action.TypedConfig.TypedConfig, out)
	if err := out.ValidateAll(); err != nil {
		t.Errorf("%s: Envoy would refuse it: %v", text, err)
	}
	return out
}

func TestWhatHappens(t *testing.T) {
	f := made(t, `{until: "2030-01-01T00:00:00Z", delay: {duration: 1500ms, percent: 20}, abort: {httpStatus: 418, fraction: {numerator: 1, denominator: 3}}, headers: [{name: Host, value: a.test}, {name: x-user, type: RegularExpression, value: "a.*"}], maxActive: 7}`, false)
	if d := f.Delay; d.GetFixedDelay().AsDuration().String() != "1.5s" || d.Percentage.Numerator != 200_000 {
		t.Errorf("delay %v", d)
	}
	if a := f.Abort; a.GetHttpStatus() != 418 || a.Percentage.Numerator != 333_333 {
		t.Errorf("abort %v", a)
	}
	if h := f.Headers; len(h) != 2 || h[0].Name != ":authority" || h[1].GetStringMatch().GetSafeRegex().GetRegex() != "a.*" {
		t.Errorf("headers %v", h)
	}
	if f.MaxActiveFaults.Value != 7 {
		t.Errorf("at most %v", f.MaxActiveFaults)
	}
	if f := made(t, `{abort: {grpcStatus: 16}}`, false); f.Abort.GetHttpStatus() != 401 {
		t.Errorf("a status of gRPC, by HTTP: %v", f)
	}
	if f := made(t, `{abort: {grpcStatus: 14}}`, true); f.Delay != nil || f.Abort.GetGrpcStatus() != 14 || f.Abort.Percentage.Numerator != 1_000_000 || f.MaxActiveFaults.Value != defaultActive {
		t.Errorf("what is not said: %v", f)
	}
}

func TestOfWhom(t *testing.T) {
	m := matcherOf(t, `{abort: {httpStatus: 503}, headers: [{name: a, value: b}], from: [{namespace: shop, serviceAccount: web.two}, {namespace: back}]}`)
	if m.OnNoMatch != nil || len(m.GetMatcherList().GetMatchers()) != 1 {
		t.Fatalf("something is done about everybody: %v", m)
	}
	theirs := m.GetMatcherList().Matchers[0]
	if theirs.OnMatch.GetMatcher().GetOnNoMatch() == nil {
		t.Errorf("nothing is done about theirs: %v", theirs)
	}
	whole := regexp.MustCompile("^(?:" + theirs.Predicate.GetSinglePredicate().GetValueMatch().GetSafeRegex().GetRegex() + ")$")
	for who, want := range map[string]bool{"shop/web.two": true, "shop/webbtwo": false, "shop/web": false, "back/any": true, "back2/any": false, "/": false} {
		if whole.MatchString(who) != want {
			t.Errorf("%s is meant: %v by %s", who, !want, whole)
		}
	}
}

// TestStatusesByGRPC: each has one of HTTP that may be asked for.
func TestStatusesByGRPC(t *testing.T) {
	for status := range int32(16) {
		if http := httpStatuses[status+1]; http < 400 || http > 599 {
			t.Errorf("%d becomes %d", status+1, http)
		}
	}
}

// TestWhatSendsNothingOn: a redirect is no request to a backend.
func TestWhatSendsNothingOn(t *testing.T) {
	r := &routev3.Route{Action: &routev3.Route_Redirect{Redirect: &routev3.RedirectAction{}}}
	inject(room.Written[v1alpha1.Fault]{Says: roomtest.Written[v1alpha1.Fault](t, `{abort: {httpStatus: 503}}`)}, nil, r)
	if len(r.TypedPerFilterConfig) > 0 {
		t.Errorf("a redirect fails: %v", r)
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		text, want string
		on         room.Kind
	}{
		{`{from: [{namespace: shop}]}`, "", room.Service},
		{`{from: [{namespace: shop}]}`, "", room.Mesh},
		{`{from: [{namespace: shop}]}`, ".from names callers", room.Gateway},
		{`{from: [{namespace: shop}]}`, "not at a HTTPRoute", room.HTTPRoute},
		{`{headers: [{name: a, value: "("}]}`, "", room.Gateway},
		{`{headers: [{name: a, value: b}, {name: b, type: RegularExpression, value: "("}]}`, ".headers[1].value is no regular expression", room.Gateway},
	} {
		got := problem(roomtest.Written[v1alpha1.Fault](t, c.text), c.on, false)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s of a %s: %q; want %q", c.text, c.on, got, c.want)
		}
	}
}
