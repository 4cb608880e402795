package envoy_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/internal/mesh"
)

// kept is what an answer has a client say the next time, in pairs of headers.
func kept(t *testing.T, r *http.Response) []string {
	t.Helper()
	var out []string
	for _, c := range r.Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
			t.Errorf("a cookie for every script and site: %v", c)
		}
		out = append(out, "Cookie", c.Name+"="+c.Value)
	}
	if h := r.Header.Get("X-Cart"); h != "" {
		out = append(out, "X-Cart", h)
	}
	return out
}

const sessionRules = `
- matches: [{path: {value: /}}]
  backendRefs: [{name: session/HTTPRoute/shop/web/0}]
  sessionPersistence: {sessionName: cart}
- matches: [{path: {value: /header}}]
  backendRefs: [{name: session/HTTPRoute/shop/web/0}]
  sessionPersistence: {sessionName: x-cart, type: Header}
- matches: [{path: {value: /bounded}}]
  backendRefs: [{name: session/HTTPRoute/shop/web/0}]
  sessionPersistence: {sessionName: bounded, absoluteTimeout: 90m, cookieConfig: {lifetimeType: Permanent}}
- matches: [{path: {value: /brief}}]
  backendRefs: [{name: session/HTTPRoute/shop/web/0}]
  sessionPersistence: {sessionName: brief, absoluteTimeout: 2s, cookieConfig: {lifetimeType: Permanent}}
`

// sessions are three endpoints of one cluster: two that share what begins, 9 to 1, and one of weight 0.
func sessions(t *testing.T) []mesh.Endpoint {
	t.Helper()
	all := echoes(t, "a", "b", "idle")
	all["a"][0].Weight, all["b"][0].Weight, all["idle"][0].Weight, all["idle"][0].Idle = 9, 1, 1, true
	return slices.Concat(all["a"], all["b"], all["idle"])
}

// TestSessions: whoever says what it was told stays with its endpoint over the weights, and also with one
// that gets no new sessions any more; others are shared by weight.
func TestSessions(t *testing.T) {
	t.Parallel()
	endpoints := sessions(t)
	g := world{endpoints: map[string][]mesh.Endpoint{"session/HTTPRoute/shop/web/0": endpoints}, hosts: host(t, sessionRules)}.start(t)
	for _, path := range []string{"/", "/header/x", "/bounded?a=b"} {
		began, told := map[string]int{}, map[string][]string{}
		for range 100 {
			response, got := g.send(t, "GET", path)
			began[got.Backend]++
			told[got.Backend] = kept(t, response)
		}
		if began["a"] < 85 || began["b"] < 5 || began["idle"] > 0 {
			t.Errorf("%s: without a session %v", path, began)
		}
		for backend, headers := range told {
			for range 30 {
				response, got := g.send(t, "GET", path, headers...)
				if got.Backend != backend || len(kept(t, response)) > 0 {
					t.Fatalf("%s: the session of %s is answered by %s, which says %v", path, backend, got.Backend, kept(t, response))
				}
			}
		}
	}
	response, _ := g.send(t, "GET", "/bounded")
	if c := response.Cookies(); len(c) != 1 || c[0].MaxAge != 5400 || c[0].Path != "/bounded" {
		t.Errorf("a bounded session is %v", c)
	}
	response, _ = g.send(t, "GET", "/brief")
	brief := kept(t, response)
	eventually(t, "a client that keeps its cookie for too long begins anew", func() bool {
		response, _ := g.send(t, "GET", "/brief", brief...)
		return len(kept(t, response)) > 0
	})
}

// TestSessionMoves: the session of an endpoint that has become idle goes on, and that of one that is gone is
// another's from the next request on, which does not fail.
func TestSessionMoves(t *testing.T) {
	t.Parallel()
	endpoints := sessions(t)
	before := world{endpoints: map[string][]mesh.Endpoint{"session/HTTPRoute/shop/web/0": endpoints[:1]}, hosts: host(t, sessionRules)}.start(t)
	response, got := before.send(t, "GET", "/")
	session := kept(t, response)
	if got.Backend != "a" || len(session) == 0 {
		t.Fatalf("%v, %v", got, session)
	}
	endpoints[0].Idle = true
	after := world{endpoints: map[string][]mesh.Endpoint{"session/HTTPRoute/shop/web/0": endpoints[:2]}, hosts: host(t, sessionRules)}.start(t)
	for range 10 {
		if _, got := after.send(t, "GET", "/", session...); got.Backend != "a" {
			t.Errorf("the session of an idle endpoint is answered by %q", got.Backend)
		}
		if _, got := after.send(t, "GET", "/"); got.Backend != "b" {
			t.Errorf("a new session is answered by %q", got.Backend)
		}
	}
	gone := world{endpoints: map[string][]mesh.Endpoint{"session/HTTPRoute/shop/web/0": endpoints[1:2]}, hosts: host(t, sessionRules)}.start(t)
	response, got = gone.send(t, "GET", "/", session...)
	if again := kept(t, response); got.Backend != "b" || len(again) == 0 {
		t.Errorf("of an endpoint that is gone: %d %q, %v", response.StatusCode, got.Backend, again)
	}
}
