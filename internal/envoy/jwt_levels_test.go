package envoy_test

import (
	"fmt"
	"net/http"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/jwttest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// TestLevelsOfTokens: whichever two levels demand a token, both must be there, each with its claims; two policies
// of one level are alternatives.
func TestLevelsOfTokens(t *testing.T) {
	t.Parallel()
	a, b := newOP(t, "a"), newOP(t, "b")
	sets := map[string]string{"a": jwttest.Set(a.key), "b": jwttest.Set(b.key)}
	outer := "providers: [" + provider("a", "https://a", "from: [{header: {name: x-a}}], claims: [{path: [sub], values: [ann]}], claimHeaders: [{path: [sub], header: x-outer}]") + "]"
	inner := "providers: [" + provider("b", "https://b", "from: [{header: {name: x-b}}], claims: [{path: [sub], values: [bob]}], claimHeaders: [{path: [sub], header: x-inner}]") + "]"
	paths := map[string][]room.Decided{}
	for out := room.AtMesh; out <= room.AtRule; out++ {
		for in := out; in <= room.AtRule; in++ {
			one, other := demanded(t, out, sets, outer), demanded(t, in, sets, inner)
			other.Policy += "-too"
			paths[fmt.Sprintf("/%d-%d", out, in)] = []room.Decided{one, other}
		}
	}
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, paths)}.start(t)
	bob := jwttest.Claims{"sub": "bob"}
	for path := range paths {
		same := path[1] == path[3]
		either := map[bool]int{true: 200, false: 401}[same]
		for name, c := range map[string]struct {
			a, b   string
			status int
		}{
			"both":                   {a.token(nil), b.token(bob), 200},
			"the outer's alone":      {a.token(nil), "", either},
			"the inner's alone":      {"", b.token(bob), either},
			"none":                   {"", "", 401},
			"the other way round":    {b.token(bob), a.token(nil), 401},
			"the outer's claims not": {a.token(bob), b.token(bob), 403},
		} {
			response, got := g.send(t, "GET", path, "x-a", c.a, "x-b", c.b, "x-outer", "root", "x-inner", "root")
			if response.StatusCode != c.status {
				t.Errorf("%s: %s: %d, want %d", path, name, response.StatusCode, c.status)
			}
			if user := got.Header.Get("x-outer") + got.Header.Get("x-inner"); c.status == 200 && (user == "" || user != "annbob" && !same || len(user) > 6) {
				t.Errorf("%s: %s: the app is told of %q", path, name, user)
			}
		}
	}
}

// TestRequiredClaims: each type, and what is of another one.
func TestRequiredClaims(t *testing.T) {
	t.Parallel()
	a := newOP(t, "a")
	sets := map[string]string{"a": jwttest.Set(a.key)}
	says := map[string]struct {
		claims  string
		good    []any
		without []any
	}{
		"/string": {"{path: [c], values: [x, '']}", []any{"x", ""}, []any{nil, "y", "xx", 1, true, []string{"x"}}},
		"/list":   {"{path: [c], contains: [x, 'y']}", []any{[]any{"x"}, []any{"y"}, []any{"z", "y"}, []any{true, "y"}, []any{1, "y"}}, []any{nil, "x", []any{}, []any{"z"}, []any{[]any{"x"}}, map[string]any{"x": "x"}}},
		"/number": {"{path: [c], number: {min: 3, max: 5}}", []any{3, 4.5, 5}, []any{nil, 2, 5.5, "3", true}},
		"/least":  {"{path: [c], number: {min: -1}}", []any{-1, 0, 1e300}, []any{-1.5, "0", nil}},
		"/bool":   {"{path: [c], bool: false}", []any{false}, []any{nil, true, "false", 0}},
		"/there":  {"{path: [c]}", []any{"", 0, false, []any{}, map[string]any{}}, []any{nil}},
		"/nested": {"{path: [c, 'https://x.y/z'], values: [x]}", []any{map[string]any{"https://x.y/z": "x"}}, []any{"x", nil, map[string]any{"x": 1}}},
	}
	paths := map[string][]room.Decided{"/scope": {demanded(t, room.AtRoute, sets, "providers: ["+provider("a", "https://a", "claims: [{path: [scope], contains: [write]}]")+"]")}}
	for path, s := range says {
		paths[path] = []room.Decided{demanded(t, room.AtRoute, sets, "providers: ["+provider("a", "https://a", "claims: ["+s.claims+"]")+"]")}
	}
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, paths)}.start(t)
	tries := func(path, name string, value any, want int) {
		if response, _ := g.send(t, "GET", path, bearer(a.token(jwttest.Claims{name: value}))...); response.StatusCode != want {
			t.Errorf("%s: %s is %#v: %d, want %d", path, name, value, response.StatusCode, want)
		}
	}
	for path, s := range says {
		for _, v := range s.good {
			tries(path, "c", v, 200)
		}
		for _, v := range s.without {
			tries(path, "c", v, 403)
		}
	}
	tries("/scope", "scope", "read write", 200)
	tries("/scope", "scope", "write", 200)
	tries("/scope", "scope", "read writes", 403)
	tries("/scope", "scope", []string{"write"}, 200)
}

// TestNoKeys: without keys there is no way in but by another provider, and nobody fills the headers of the one that has
// none.
func TestNoKeys(t *testing.T) {
	t.Parallel()
	a := newOP(t, "a")
	sets := map[string]string{"a": jwttest.Set(a.key)}
	gone, there := provider("b", "https://b", "claimHeaders: [{path: [sub], header: X-Gone}]"), provider("a", "https://a", "")
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, map[string][]room.Decided{
		"/none":  {demanded(t, room.AtRoute, sets, "providers: ["+gone+"]")},
		"/one":   {demanded(t, room.AtRoute, sets, "providers: ["+gone+", "+there+"]")},
		"/outer": {demanded(t, room.AtMesh, sets, "providers: ["+gone+"]"), demanded(t, room.AtRoute, sets, "providers: ["+there+"]")},
		"/empty": {demanded(t, room.AtRoute, sets, "providers: []")},
		"/free":  nil,
	})}.start(t)
	for path, want := range map[string]int{"/none": 503, "/one": 200, "/outer": 503, "/empty": 503, "/free": 200} {
		response, got := g.send(t, "GET", path, append(bearer(a.token(nil)), "x-gone", "root")...)
		if response.StatusCode != want || (got.Header.Get("x-gone") != "") != (path == "/free") {
			t.Errorf("%s: %d, want %d; the app is told of %q", path, response.StatusCode, want, got.Header.Get("x-gone"))
		}
	}
}

// TestLimitsByClaim: each user has a bucket, at a Gateway that knows who they are.
func TestLimitsByClaim(t *testing.T) {
	t.Parallel()
	a := newOP(t, "a")
	says := demanded(t, room.AtRoute, map[string]string{"a": jwttest.Set(a.key)}, "providers: ["+provider("a", "https://a", "")+"]")
	d := limit(t, "shop/fair", "{limits: [{requests: 2, per: 1h, by: [{type: Claim, claim: [user, name]}]}]}")
	hosts := guardedHost(t, map[string][]room.Decided{"/": {says}})
	hosts[0].Rules[0].Policies = []room.Decided{d}
	g := world{endpoints: echoes(t, "a"), hosts: hosts, limits: []room.Decided{d}}.start(t)
	for _, user := range []any{"ann", "bob", nil, 7} {
		for i := range 4 {
			response, _ := g.send(t, "GET", "/", bearer(a.token(jwttest.Claims{"user": map[string]any{"name": user}}))...)
			want := 200
			if _, is := user.(string); is && i >= 2 {
				want = 429
			}
			if response.StatusCode != want {
				t.Errorf("request %d of %v: %d, want %d", i, user, response.StatusCode, want)
			}
		}
	}
}

// TestTokensAtPods: a sidecar asks for tokens by the port that is called, whoever calls and however; the kubelet's
// probes need none.
func TestTokensAtPods(t *testing.T) {
	t.Parallel()
	g, a := startGuard(t), newOP(t, "a")
	demand := demanded(t, room.AtPort, map[string]string{"a": jwttest.Set(a.key)}, "providers: ["+provider("a", "https://a", "")+"]")
	asks := func(ports ...mesh.GuardedPort) {
		commitTo(g.store, g.account, map[string]proto.Message{mesh.Guards: envoy.InboundGuards(mesh.InboundGuards{Ports: ports})})
		g.knows(t)
		g.knows(t) // what was committed before the first has been taken once the second has
	}
	get := func(port uint32, path, token string) int {
		request, err := http.NewRequest("GET", fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(request)
		if err != nil {
			return 0
		}
		response.Body.Close()
		return response.StatusCode
	}
	asks(mesh.GuardedPort{Port: int32(g.web), By: []room.Decided{demand}})
	for name, c := range map[string]struct {
		port   uint32
		path   string
		token  string
		status int
	}{
		"with a token":                    {g.web, "/", a.token(nil), 200},
		"without":                         {g.web, "/", "x", 401},
		"another port":                    {g.loose, "/", "x", 200},
		"a probe":                         {g.probed, "/live", "x", 200},
		"what is no probe, from the node": {g.probed, "/", "x", 403},
	} {
		if got := get(c.port, c.path, c.token); got != c.status {
			t.Errorf("%s: %d, want %d", name, got, c.status)
		}
	}
	asks(mesh.GuardedPort{Port: int32(g.loose), By: []room.Decided{demand}})
	if web, loose := get(g.web, "/", "x"), get(g.loose, "/", "x"); web != 200 || loose != 401 {
		t.Errorf("of another port: %d and %d", web, loose)
	}
	asks()
	if got := get(g.loose, "/", "x"); got != 200 {
		t.Errorf("of none any more: %d", got)
	}
	commitTo(g.store, g.account, map[string]proto.Message{mesh.Guards: (*corev3.TypedExtensionConfig)(nil)})
	eventually(t, "without the filter nothing gets in", func() bool { return get(g.web, "/", a.token(nil)) == 503 })
}

// TestNarrowedAndGuarded: a rule that takes some requests only, which is found out first, guards those; another one of
// the same path has its own.
func TestNarrowedAndGuarded(t *testing.T) {
	t.Parallel()
	a := newOP(t, "a")
	hosts := host(t, "- matches: [{path: {value: /}}]\n"+toA+"- matches: [{path: {value: /}}]\n"+toA)
	hosts[0].Routes = limitedRoutes
	hosts[0].Rules[0].Policies = []room.Decided{{Section: "match", Policy: "shop/posts", Says: &v1alpha1.Match{CEL: "request.method == 'POST'"}}}
	hosts[0].Rules[0].Guards = []room.Decided{demanded(t, room.AtRule, map[string]string{"a": jwttest.Set(a.key)}, "providers: ["+provider("a", "https://a", "")+"]")}
	g := world{endpoints: echoes(t, "a"), hosts: hosts}.start(t)
	for _, c := range []struct {
		method, token string
		status        int
	}{{"GET", "x", 200}, {"POST", "x", 401}, {"POST", a.token(nil), 200}, {"GET", "x", 200}} {
		if response, _ := g.send(t, c.method, "/", bearer(c.token)...); response.StatusCode != c.status {
			t.Errorf("%s with %.10s: %d, want %d", c.method, c.token, response.StatusCode, c.status)
		}
	}
}
