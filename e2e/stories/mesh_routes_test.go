package stories

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// routed is one request by a route of Service web, and what is to come of it. What is empty is not looked at.
type routed struct {
	what    string
	request call.Request
	status  int    // 0: 200
	by      string // the app that answers
	path    string // as it saw it
	host    string
	got     headers // as it saw them
	answer  headers // as the caller saw them
}

// headers are wanted values by name, joined by "|"; "" is none.
type headers map[string]string

func (h headers) missing(who string, in http.Header) (err error) {
	for name, want := range h {
		if is := strings.Join(in.Values(name), "|"); is != want {
			err = errors.Join(err, fmt.Errorf("%s got %s %q, want %q", who, name, is, want))
		}
	}
	return err
}

func get(path string, headers map[string]string) call.Request {
	return call.Request{Path: path, Headers: headers}
}

// routedRequests are what testdata/mesh/routes.yaml is for, where one request shows it.
var routedRequests = []routed{
	{what: "prefix replaced", request: get("/prefix/x?q=1", nil), by: "one", path: "/new/x?q=1", host: "web"},
	{what: "prefix replaced, nothing after it", request: get("/prefix", nil), by: "one", path: "/new"},
	{what: "prefix that is a part of a word", request: get("/prefixed", nil), status: 404},
	{what: "prefix taken off", request: get("/root/x/", nil), by: "one", path: "/x/"},
	{what: "prefix taken off, nothing after it", request: get("/root", nil), by: "one", path: "/"},
	{what: "path and host replaced", request: get("/full/x?q=1", nil), by: "one", path: "/whole?q=1", host: "inner.test"},

	{what: "redirect to a scheme", request: get("/scheme/x?q=1", nil), status: 301, answer: headers{"Location": "https://web/scheme/x?q=1"}},
	{what: "redirect to a host", request: get("/host", nil), status: 302, answer: headers{"Location": "http://other.test/host"}},
	{what: "redirect to a port", request: get("/port", nil), status: 303, answer: headers{"Location": "http://web:8443/port"}},
	{what: "redirect to a prefix", request: get("/moved/x", nil), status: 307, answer: headers{"Location": "http://web/there/x"}},
	{what: "redirect to a path", request: get("/gone/x?q=1", nil), status: 308, answer: headers{"Location": "http://web/there?q=1"}},

	{what: "method", request: call.Request{Method: "DELETE", Path: "/match"}, by: "two"},
	{what: "header", request: get("/match", map[string]string{"X-Tier": "gold"}), by: "two"},
	{what: "header by an expression", request: get("/match", map[string]string{"X-Tier": "silver-12"}), by: "two"},
	{what: "header that has the expression in it", request: get("/match", map[string]string{"X-Tier": "silver-12x"}), by: "one"},
	{what: "query", request: get("/match?a=b&v=2", nil), by: "two"},
	{what: "query of another value", request: get("/match?v=22", nil), by: "one"},
	{what: "exact path", request: get("/match/exact", nil), by: "two"},
	{what: "exact path and more", request: get("/match/exact/x", nil), by: "one"},
	{what: "named rule", request: get("/match", nil), by: "one"},
	{what: "no rule", request: get("/nothing", nil), status: 404},

	{what: "headers of the request", request: get("/headers", map[string]string{"X-Set": "mine", "X-Add": "mine", "X-Remove": "mine"}), by: "one",
		got: headers{"X-Set": "by the rule", "X-Add": "mine|by the rule", "X-Remove": ""}},
	{what: "headers of the request that were not there", request: get("/headers", nil), by: "one", got: headers{"X-Set": "by the rule", "X-Add": "by the rule"}},
	{what: "header of the answer set", request: get("/headers", map[string]string{"Answer-With": "X-Set: the app's"}), answer: headers{"X-Set": "by the rule"}},
	{what: "header of the answer added", request: get("/headers", map[string]string{"Answer-With": "X-Add: the app's"}), answer: headers{"X-Add": "the app's|by the rule"}},
	{what: "header of the answer removed", request: get("/headers", map[string]string{"Answer-With": "X-Remove: the app's"}), answer: headers{"X-Remove": ""}},

	{what: "preflight", request: call.Request{Method: "OPTIONS", Path: "/cors", Headers: map[string]string{"Origin": "https://app.test", "Access-Control-Request-Method": "PUT"}},
		answer: headers{"Access-Control-Allow-Origin": "https://app.test", "Access-Control-Allow-Methods": "PUT", "Access-Control-Allow-Headers": "X-A", "Access-Control-Max-Age": "60"}},
	{what: "preflight from elsewhere", request: call.Request{Method: "OPTIONS", Path: "/cors", Headers: map[string]string{"Origin": "https://bad.test", "Access-Control-Request-Method": "PUT"}},
		answer: headers{"Access-Control-Allow-Origin": ""}},
	{what: "request from an origin", request: call.Request{Method: "PUT", Path: "/cors", Headers: map[string]string{"Origin": "https://app.test"}}, by: "one", path: "/cors",
		answer: headers{"Access-Control-Allow-Origin": "https://app.test"}},
	{what: "request from elsewhere", request: call.Request{Method: "PUT", Path: "/cors", Headers: map[string]string{"Origin": "https://bad.test"}}, by: "one",
		answer: headers{"Access-Control-Allow-Origin": ""}},

	{what: "limit of a request", request: get("/wait/request", nil), status: 504},
	{what: "limit of a try", request: get("/wait/backend", nil), status: 504},
	{what: "within the limits", request: get("/in-time", nil), by: "one"},
	{what: "mirror that is not there", request: get("/badly-copied", nil), by: "one"},
}

// TestMeshRoutes sends what routes of a Service are about from a pod in the mesh, and looks at what the
// backend saw and what the caller got.
func TestMeshRoutes(t *testing.T) {
	stage.Parallel(t)
	c := newConversation(t, "routes")
	c.Apply(manifest(t, "mesh/routes.yaml"))
	for _, name := range []string{"one", "two"} {
		echo(t, c.Scene, name, "declared", "{}")
	}
	c.Rollout("one", "two")
	for _, r := range []call.Request{{Path: "/prefix"}, {Path: "/match"}, {Path: "/shared"}, {Path: "/in-time"}} {
		r.Protocol, r.Address = call.HTTP, at("web", 80)
		c.caller.Answered(r, nil) // each route is served
	}
	for _, r := range routedRequests {
		if err := c.routes(r); err != nil {
			t.Errorf("%s: %v", r.what, err)
		}
	}
	c.Step("%d requests were routed", len(routedRequests))
	c.names("limited")
	c.shares()
	c.copies()
	c.spoken()
	c.callsByGRPC()
}

// routes makes a request to Service web.
func (c *conversation) routes(r routed) error {
	c.t.Helper()
	r.request.Protocol, r.request.Address, r.request.Host = call.HTTP, at("web", 80), "web"
	out := c.caller.Call(r.request)
	want := r.status
	if want == 0 {
		want = 200
	}
	err := errors.Join(r.got.missing("the app", out.Answer.Headers), r.answer.missing("the caller", out.Header))
	if out.Failed != "" || out.Status != want {
		err = errors.Join(err, fmt.Errorf("status %d %s, want %d", out.Status, out.Failed, want))
	}
	if app := app(out); r.by != "" && app != r.by {
		err = errors.Join(err, fmt.Errorf("answered by %q, want %q", app, r.by))
	}
	if r.path != "" && out.Answer.Path != r.path || r.host != "" && out.Answer.Host != r.host {
		err = errors.Join(err, fmt.Errorf("the app saw %s of %s, want %s of %s", out.Answer.Path, out.Answer.Host, r.path, r.host))
	}
	return err
}

// names looks for a rule's name in what the caller's proxy logs of a request that failed.
func (c *conversation) names(rule string) {
	c.t.Helper()
	want := "httproute/" + c.Namespace + "/ends/" + rule + "/0"
	c.Until(time.Minute, "the log names "+want, func(context.Context) error {
		for _, line := range stage.AccessLog(c.Log(c.caller.Pod, sidecar.ProxyContainer)) {
			if line["route"] == want && fmt.Sprint(line["status"]) == "504" {
				return nil
			}
		}
		return errors.New("no line has it")
	})
}

// app is the name of the Deployment whose pod answered.
func app(out call.Outcome) string {
	name, _, _ := strings.Cut(out.Answer.Pod, "-")
	return name
}

// shares has each of two backends get its own headers, besides the rule's.
func (c *conversation) shares() {
	c.t.Helper()
	by := map[string]int{}
	for _, out := range c.caller.Calls(60, call.Request{Protocol: call.HTTP, Address: at("web", 80), Path: "/shared"}) {
		name := app(out)
		by[name]++
		own := headers{"X-Share": name}
		err := errors.Join(out.Err(), own.missing("the app", out.Answer.Headers), own.missing("the caller", out.Header), headers{"X-Rule": "shared"}.missing("the app", out.Answer.Headers))
		if err != nil {
			c.t.Errorf("a share of %s: %v", name, err)
		}
	}
	if by["one"] == 0 || by["two"] == 0 {
		c.t.Errorf("of 60 requests to two backends: %v", by)
	}
	c.Step("headers of shares: %v", by)
}

// copies counts what a mirror gets. Callers see nothing of it.
func (c *conversation) copies() {
	c.t.Helper()
	const n = 60
	for _, m := range []struct {
		path        string
		least, most int
	}{{"/all-copied", n, n}, {"/half-copied", n / 5, n - n/5}, {"/not-copied", 0, 0}} {
		for _, out := range c.caller.Calls(n, call.Request{Protocol: call.HTTP, Address: at("web", 80), Path: m.path}) {
			if out.Err() != nil || app(out) != "one" {
				c.t.Errorf("%s: answered by %q: %v", m.path, app(out), out.Err())
			}
		}
		had := 0
		c.Until(time.Minute, m.path+" is copied", func(context.Context) error {
			if had = timesAsked(c.t, c.Scene, c.Pod("two"), m.path); had < m.least {
				return fmt.Errorf("%d times of %d, want %d", had, n, m.least)
			}
			return nil
		})
		if had > m.most {
			c.t.Errorf("%s: %d requests were copied %d times", m.path, n, had)
		}
		c.Step("%s: %d of %d", m.path, had, n)
	}
}

// timesAsked is how often a pod of an app was asked for a path.
func timesAsked(t *testing.T, s *stage.Scene, pod corev1.Pod, path string) int {
	t.Helper()
	out, err := s.Exec(t.Context(), pod, "echo", nil, "/echo", "asked", path)
	must(t, err)
	times, err := strconv.Atoi(strings.TrimSpace(string(out)))
	must(t, err)
	return times
}

// spoken sends to backends that speak something else than the caller's HTTP/1.1.
func (c *conversation) spoken() {
	c.t.Helper()
	out := c.caller.Call(call.Request{Protocol: call.HTTP, Address: at("web", 80), Path: "/h2c"})
	if out.Err() != nil || out.Answer.Protocol != "HTTP/2.0" {
		c.t.Errorf("to a port of HTTP/2: the app saw %q: %v", out.Answer.Protocol, out.Err())
	}
	said := word("hello")
	out = c.caller.Call(call.Request{Protocol: call.WebSocket, Address: at("web", 80), Text: said})
	if out.Err() != nil || app(out) != "two" || out.Answer.Said != said {
		c.t.Errorf("a WebSocket: %+v", out)
	}
}

// callsByGRPC has a GRPCRoute tell calls apart by their metadata.
func (c *conversation) callsByGRPC() {
	c.t.Helper()
	say := func(tier string) call.Outcome {
		return c.caller.Call(call.Request{Protocol: call.GRPC, Address: at("web", 90), Text: "hello", Headers: map[string]string{"x-tier": tier}})
	}
	for tier, want := range map[string]string{"gold": "two", "silver-7": "two", "none": "one"} {
		out := say(tier)
		rule := headers{"X-Rule": map[string]string{"two": "paid"}[want]}
		if err := errors.Join(out.Err(), rule.missing("the app", canonical(out.Answer.Headers))); err != nil || app(out) != want {
			c.t.Errorf("a call of tier %s: answered by %q, want %q: %v", tier, app(out), want, err)
		}
	}
	if out := say("bronze"); !strings.Contains(out.Failed, "Unimplemented") {
		c.t.Errorf("a call that no rule takes: %+v", out)
	}
	c.Step("calls were told apart by their metadata")
}

// canonical are headers with names as HTTP/1.1 writes them: gRPC's are in small letters.
func canonical(h http.Header) http.Header {
	out := http.Header{}
	for name, values := range h {
		out[http.CanonicalHeaderKey(name)] = values
	}
	return out
}
