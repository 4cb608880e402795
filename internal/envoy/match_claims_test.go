package envoy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/jwttest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// claimed narrows a rule by claims of the tokens that some policies of one level demand.
func claimed(t *testing.T, r *mesh.Rule, claims string, by ...room.Decided) {
	t.Helper()
	d := room.Decided{Section: "match", Policy: "shop/gold", Says: roomtest.Written[v1alpha1.Match](t, "claims: "+claims)}
	if len(by) > 0 {
		var policies []string
		for _, d := range by {
			policies = append(policies, d.Policy)
		}
		d.Claims = room.RoutingClaims(policies)
		r.Tokens = append(r.Tokens, mesh.Tokens{Key: d.Claims, By: by})
	}
	r.Policies = append(r.Policies, d)
}

// ofPath are a rule for all that goes to a, and one that goes to b and is to be narrowed.
func ofPath(t *testing.T, path string) []mesh.Rule {
	t.Helper()
	match := "[{matches: [{path: {value: " + path + "}}], backendRefs: [{name: "
	return append(rules(t, match+"a}]}]"), rules(t, match+"b}]}]")...)
}

// rulesForGold are a rule for all that makes faults for testers, and one for plan gold, in callers' sidecars.
func rulesForGold(t *testing.T) mesh.VirtualHost {
	t.Helper()
	sets := map[string]string{"a": `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`}
	demand := demanded(t, room.AtService, sets, "providers: ["+provider("a", "https://a", "")+"]")
	v := mesh.VirtualHost{Routes: "outbound/shop/cart/80", Domain: "*", Port: 80, Rules: ofPath(t, "/")}
	claimed(t, &v.Rules[1], "[{path: [plan], values: [gold, platinum]}, {path: [groups], contains: [beta]}, {path: [age], number: {min: 18}}, {path: [ok], bool: true}, {path: [a, b]}]", demand)
	v.Rules[0].Tokens = v.Rules[1].Tokens
	v.Rules[0].Policies = []room.Decided{{Section: "fault", Policy: "shop/fault", Claims: v.Rules[1].Policies[0].Claims, Says: roomtest.Written[v1alpha1.Fault](t,
		`{until: "2090-01-01T00:00:00Z", abort: {httpStatus: 503}, claims: [{path: [groups], contains: [testers, qa]}, {path: [age], number: {max: 3}}]}`)}}
	return v
}

// planned is what becomes of requests by their tokens: whether they are taken by the rule for plan gold of issuer a.
func planned(a op, stranger op, other op) map[string]bool {
	gold, now := jwttest.Claims{"plan": "gold"}, jwttest.Claims{"plan": "gold", "exp": 1}
	return map[string]bool{
		a.token(gold): true,
		a.token(nil):  false,
		a.token(jwttest.Claims{"plan": "silver"}):         false,
		a.token(jwttest.Claims{"plan": []string{"gold"}}): false,
		a.token(now):         false,
		stranger.token(gold): false,
		other.token(gold):    false,
		a.key.Headed(map[string]any{"alg": "none"}, a.says.With(gold)): false,
		spliced(a.token(nil), a.token(gold)):                           false,
		"x":                                                            false,
		"":                                                             false,
	}
}

// TestRulesByClaims: a real Gateway takes by a rule that is narrowed by claims what has them in a token that is valid,
// and nothing else; nothing is refused for that.
func TestRulesByClaims(t *testing.T) {
	t.Parallel()
	a, stranger, other := newOP(t, "a"), newOP(t, "a"), newOP(t, "b")
	demand := demanded(t, room.AtRule, map[string]string{"a": jwttest.Set(a.key)}, "providers: ["+provider("a", "https://a", "claimHeaders: [{path: [plan], header: x-plan}]")+"]")
	v := mesh.VirtualHost{Routes: limitedRoutes, Domain: "*", Port: 80, Rules: append(ofPath(t, "/gold"), ofPath(t, "/nobody")...)}
	claimed(t, &v.Rules[1], "[{path: [plan], values: [gold, platinum]}, {path: [sub]}]", demand)
	v.Rules[1].Guards = []room.Decided{demand}
	claimed(t, &v.Rules[3], "[{path: [plan]}]")
	g := world{endpoints: echoes(t, "a", "b"), hosts: []mesh.VirtualHost{v}}.start(t)
	for token, gold := range planned(a, stranger, other) {
		more := append(bearer(token), "x-plan", "gold", "plan", "gold", "claims", `{"plan":"gold"}`, "envoy.filters.http.jwt.authn", "gold")
		for path, want := range map[string]string{"/gold": map[bool]string{true: "b", false: "a"}[gold], "/nobody": "a"} {
			response, got := g.send(t, "GET", path, more...)
			if response.StatusCode != 200 || got.Backend != want {
				t.Errorf("%s with %.200s: %d by %q, want %s", path, token, response.StatusCode, got.Backend, want)
			}
		}
	}
	if response, got := g.send(t, "GET", "/gold"); response.StatusCode != 200 || got.Backend != "a" {
		t.Errorf("without a token: %d by %q", response.StatusCode, got.Backend)
	}
}

// TestRulesByClaimsAreGuarded: a rule that takes a request for its claims demands what it demands: a token, with other
// claims than these, and what is of another level; and it meets its server, limits and faults. One that does not take it has no part in it.
func TestRulesByClaimsAreGuarded(t *testing.T) {
	t.Parallel()
	a, b := newOP(t, "a"), newOP(t, "b")
	sets := map[string]string{"a": jwttest.Set(a.key), "b": jwttest.Set(b.key)}
	outer := demanded(t, room.AtService, sets, "providers: ["+provider("b", "https://b", "from: [{header: {name: x-b}}]")+"]")
	inner := demanded(t, room.AtRule, sets, "providers: ["+provider("a", "https://a", "claims: [{path: [verified], bool: true}]")+"]")
	fault := room.Decided{Section: "fault", Policy: "shop/fault", Says: roomtest.Written[v1alpha1.Fault](t, `{until: "2090-01-01T00:00:00Z", abort: {httpStatus: 418}}`)}
	v := mesh.VirtualHost{Routes: limitedRoutes, Domain: "*", Port: 80, Rules: append(ofPath(t, "/guarded"), ofPath(t, "/fault")...)}
	v.Rules = append(v.Rules, ofPath(t, "/only")[1])
	for _, i := range []int{1, 3, 4} {
		claimed(t, &v.Rules[i], "[{path: [plan], values: [gold]}]", inner)
	}
	v.Rules[1].Guards, v.Rules[3].Policies = []room.Decided{outer, inner}, append(v.Rules[3].Policies, fault)
	v.Rules[4].Guards = []room.Decided{inner}
	few := limit(t, "shop/few", "{limits: [{requests: 1, per: 1h}]}")
	v.Rules = append(v.Rules, checkedAndLimited(t, few, inner)...)
	_, authz := judge(t)
	w := world{endpoints: echoes(t, "a", "b"), hosts: []mesh.VirtualHost{v}, limits: []room.Decided{few}}
	w.endpoints["authz"] = authz
	g := w.start(t)
	gold, verified := jwttest.Claims{"plan": "gold"}, jwttest.Claims{"plan": "gold", "verified": true}
	for _, c := range []struct {
		path, a, b string
		want       string
	}{
		{"/guarded", "", "", "200 a"},
		{"/guarded", a.token(gold), "", "401 "},
		{"/guarded", a.token(verified), "", "401 "},
		{"/guarded", a.token(gold), b.token(nil), "403 "},
		{"/guarded", a.token(verified), b.token(nil), "200 b"},
		{"/guarded", a.token(verified), a.token(verified), "401 "},
		{"/fault", a.token(gold), "", "418 "},
		{"/fault", "", "", "200 a"},
		{"/only", "", "", "404 "},
		{"/only", a.token(gold), "", "403 "},
		{"/only", a.token(verified), "", "200 b"},
		{"/x-deny", a.token(gold), "", "401 "}, {"/x-deny", "", "", "200 a"},
		{"/few", a.token(gold), "", "200 b"}, {"/few", a.token(gold), "", "429 "}, {"/few", "", "", "200 a"},
	} {
		response, got := g.send(t, "GET", c.path, append(bearer(c.a), "x-b", c.b)...)
		if is := fmt.Sprint(response.StatusCode, " ", got.Backend); is != c.want {
			t.Errorf("%s with %.20q and %.20q: %s, want %s", c.path, c.a, c.b, is, c.want)
		}
	}
}

// checkedAndLimited are rules for plan gold of which a server refuses what it is asked about, or which are limited.
func checkedAndLimited(t *testing.T, limit, by room.Decided) []mesh.Rule {
	t.Helper()
	out := append(ofPath(t, "/x-deny")[:1], rules(t, "[{matches: [{path: {value: /x-deny}}], filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: authz}}}], backendRefs: [{name: b}]}]")...)
	out = append(out, ofPath(t, "/few")...)
	claimed(t, &out[1], "[{path: [plan], values: [gold]}]", by)
	claimed(t, &out[3], "[{path: [plan], values: [gold]}]", by)
	out[3].Policies = append(out[3].Policies, limit)
	return out
}

// TestRulesByClaimsOfTwo: of two policies of one level either one's token counts; and so does an expression, beside
// claims, of the same requests.
func TestRulesByClaimsOfTwo(t *testing.T) {
	t.Parallel()
	a, b := newOP(t, "a"), newOP(t, "b")
	sets := map[string]string{"a": jwttest.Set(a.key), "b": jwttest.Set(b.key)}
	one, two := demanded(t, room.AtService, sets, "providers: ["+provider("a", "https://a", "")+"]"), demanded(t, room.AtService, sets, "providers: ["+provider("b", "https://b", "")+"]")
	two.Policy += "-too"
	v := mesh.VirtualHost{Routes: limitedRoutes, Domain: "*", Port: 80, Rules: append(ofPath(t, "/either"), ofPath(t, "/post")...)}
	claimed(t, &v.Rules[1], "[{path: [plan], values: [gold]}]", one, two)
	claimed(t, &v.Rules[3], "[{path: [plan], values: [gold]}]", two)
	v.Rules[3].Policies[0].Says.(*v1alpha1.Match).CEL = "request.method == 'POST'"
	g := world{endpoints: echoes(t, "a", "b"), hosts: []mesh.VirtualHost{v}}.start(t)
	gold := jwttest.Claims{"plan": "gold"}
	for _, c := range []struct{ method, path, token, want string }{
		{"GET", "/either", a.token(gold), "b"}, {"GET", "/either", b.token(gold), "b"},
		{"GET", "/either", a.token(nil), "a"}, {"GET", "/either", "", "a"},
		{"POST", "/post", b.token(gold), "b"}, {"GET", "/post", b.token(gold), "a"},
		{"POST", "/post", a.token(gold), "a"}, {"POST", "/post", b.token(nil), "a"},
	} {
		if _, got := g.send(t, c.method, c.path, bearer(c.token)...); got.Backend != c.want {
			t.Errorf("%s %s with %.20q: by %q, want %s", c.method, c.path, c.token, got.Backend, c.want)
		}
	}
}

// TestSidecarsByClaims: a real caller's sidecar verifies tokens to know by which rule it sends, and refuses none.
func TestSidecarsByClaims(t *testing.T) {
	a, stranger, other := newOP(t, "a"), newOP(t, "a"), newOP(t, "b")
	demand := demanded(t, room.AtService, map[string]string{"a": jwttest.Set(a.key)}, "providers: ["+provider("a", "https://a", "audiences: [shop], forward: false, claims: [{path: [none]}]")+"]")
	v := mesh.VirtualHost{Routes: "outbound/shop/cart/80", Domain: "*", Port: 80, Rules: ofPath(t, "/gold")}
	claimed(t, &v.Rules[1], "[{path: [plan], values: [gold]}]", demand)
	at := startCaller(t, map[string][]mesh.Endpoint{"a": serveText(t, "a"), "b": serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, map[bool]string{true: "b", false: "no token"}[strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey")])
	})}, v)
	for token, gold := range planned(a, stranger, other) {
		response, text := receive(t, (&gateway{url: at}).request(t, http.MethodGet, "/gold", append(bearer(token), "x-plan", "gold")...))
		if got, want := fmt.Sprint(response.StatusCode, " ", string(text)), map[bool]string{true: "200 b", false: "200 a"}[gold]; got != want {
			t.Errorf("with %.200s: %s, want %s", token, got, want)
		}
	}
}

// TestFaultsByClaims: at a real Gateway, and in a real caller's sidecar, a fault touches what has claims in a valid
// token, and nothing else.
func TestFaultsByClaims(t *testing.T) {
	a, stranger, other := newOP(t, "a"), newOP(t, "a"), newOP(t, "b")
	demand := demanded(t, room.AtService, map[string]string{"a": jwttest.Set(a.key)}, "providers: ["+provider("a", "https://a", "")+"]")
	fault := func(claims, key string) room.Decided {
		return room.Decided{Section: "fault", Policy: "shop/fault", Claims: key, Says: roomtest.Written[v1alpha1.Fault](t, `{until: "2090-01-01T00:00:00Z", abort: {httpStatus: 418}, claims: `+claims+"}")}
	}
	const gold = "[{path: [plan], values: [gold, platinum]}, {path: [aud], contains: [shop]}]"
	front := mesh.VirtualHost{Routes: limitedRoutes, Domain: "*", Port: 80, Rules: append(ofPath(t, "/gold")[:1], ofPath(t, "/nobody")[0])}
	front.Rules[0].Guards, front.Rules[0].Policies = []room.Decided{demand}, []room.Decided{fault(gold, room.Claims)}
	front.Rules[1].Guards, front.Rules[1].Policies = []room.Decided{demand}, []room.Decided{fault("[{path: [plan]}]", "")}
	g := world{endpoints: echoes(t, "a"), hosts: []mesh.VirtualHost{front}}.start(t)
	called := mesh.VirtualHost{Routes: "outbound/shop/cart/80", Domain: "*", Port: 80, Rules: ofPath(t, "/gold")[:1]}
	key := room.RoutingClaims([]string{demand.Policy})
	called.Rules[0].Policies, called.Rules[0].Tokens = []room.Decided{fault(gold, key)}, []mesh.Tokens{{Key: key, By: []room.Decided{demand}}}
	at := startCaller(t, map[string][]mesh.Endpoint{"a": serveText(t, "a")}, called)
	for token, is := range planned(a, stranger, other) {
		touched := map[bool]int{true: 418, false: 200}[is]
		if response, _ := receive(t, (&gateway{url: at}).request(t, http.MethodGet, "/gold", bearer(token)...)); response.StatusCode != touched {
			t.Errorf("from a pod, with %.200s: %d, want %d", token, response.StatusCode, touched)
		}
		if response, _ := g.send(t, "GET", "/gold", bearer(token)...); response.StatusCode != touched && (is || response.StatusCode != 401) {
			t.Errorf("by a Gateway, with %.200s: %d, want %d", token, response.StatusCode, touched)
		}
		if response, _ := g.send(t, "GET", "/nobody", bearer(token)...); response.StatusCode == 418 {
			t.Errorf("a fault that may go by no claims, with %.200s: %d", token, response.StatusCode)
		}
	}
}
