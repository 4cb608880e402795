package extensions

import (
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

func written(t *testing.T, text string) room.Written[[]v1alpha1.Extension] {
	t.Helper()
	return room.Written[[]v1alpha1.Extension]{Policy: "shop/a", Says: roomtest.Written[[]v1alpha1.Extension](t, text)}
}

// chained are the filters of a Route.
func chained(t *testing.T, r *routev3.Route) (out []*anypb.Any) {
	t.Helper()
	packed, has := r.TypedPerFilterConfig[filter]
	if !has {
		return nil
	}
	route, action := &compositev3.CompositePerRoute{}, &compositev3.ExecuteFilterAction{}
	roomtest.Unpack(t, packed, route)
	roomtest.Unpack(t, route.Matcher.OnNoMatch.GetAction().TypedConfig, action)
	for _, f := range action.FilterChain.TypedConfig {
		out = append(out, f.TypedConfig)
	}
	return out
}

func forward() *routev3.Route {
	return &routev3.Route{Action: &routev3.Route_Route{Route: &routev3.RouteAction{}}}
}

const scripts = `[{name: a, lua: {source: x}}, {name: b, failOpen: true, lua: {configMapRef: {name: scripts, key: b.lua}}}]`

const four = `[{name: a, lua: {source: x}}, {name: b, failOpen: true, lua: {configMapRef: {name: scripts, key: b.lua}}},
{name: c, extProc: {backendRef: {name: proc, port: 80}}},
{name: d, failOpen: true, extProc: {backendRef: {name: proc, port: 81}, messageTimeout: 2s, processingMode: {requestHeaderMode: Skip, responseHeaderMode: Send, requestBodyMode: Buffered, responseBodyMode: BufferedPartial}}}]`

func TestWhatIsReferredTo(t *testing.T) {
	w := written(t, four)
	refs := refers(w.Says)
	for i, want := range []string{"[0].lua.source", "[1].lua.configMapRef", "[2].extProc.backendRef", "[3].extProc.backendRef"} {
		if refs[i].Field != want || strings.Contains(refs[i].Instead, "500") == (*w.Says)[i].FailOpen {
			t.Errorf("%d: %+v, want %s", i, refs[i], want)
		}
	}
	if r := refs[1]; r.ConfigMap != "scripts" || r.Key != "b.lua" || r.Text != "" || refs[0].Text != "x" || int(*refs[3].Server.Port) != 81 {
		t.Errorf("%+v", refs)
	}
}

// TestChain: requests meet scripts in the order of what is written.
func TestChain(t *testing.T) {
	w, r := written(t, scripts), forward()
	extend(w, []room.Referent{{Text: "one"}, {Text: "two"}}, r)
	chain := chained(t, r)
	if len(chain) != 2 {
		t.Fatalf("%d filters", len(chain))
	}
	for i, want := range []string{`"shop/a a", false, false, "one"`, `"shop/a b", true, false, "two"`} {
		l := &luav3.Lua{}
		roomtest.Unpack(t, chain[i], l)
		if !strings.Contains(l.DefaultSourceCode.GetInlineString(), want) || l.ClearRouteCache.GetValue() || l.SharedVmId != "shop/a" {
			t.Errorf("script %d: %v", i, l)
		}
	}
}

// TestServers: one is alone.
func TestServers(t *testing.T) {
	c, d := &extprocv3.ExternalProcessor{}, &extprocv3.ExternalProcessor{}
	for text, p := range map[string]*extprocv3.ExternalProcessor{
		`[{name: c, extProc: {backendRef: {name: proc, port: 80}}}]`: c,
		`[{name: d, failOpen: true, extProc: {backendRef: {name: proc, port: 81}, messageTimeout: 2s, processingMode: {requestHeaderMode: Skip, responseHeaderMode: Send, requestBodyMode: Buffered, responseBodyMode: BufferedPartial}}}]`: d,
	} {
		r := forward()
		extend(written(t, text), []room.Referent{{Cluster: "asking/c", Authority: "c"}}, r)
		roomtest.Unpack(t, chained(t, r)[0], p)
	}
	if c.FailureModeAllow || c.MessageTimeout.AsDuration() != messageTimeout || c.GrpcService.GetEnvoyGrpc().ClusterName != "asking/c" ||
		c.ProcessingMode.RequestHeaderMode != extprocv3.ProcessingMode_SEND || c.ProcessingMode.RequestBodyMode != extprocv3.ProcessingMode_NONE {
		t.Errorf("what is not said: %v", c)
	}
	if m := d.ProcessingMode; !d.FailureModeAllow || d.MessageTimeout.AsDuration().String() != "2s" || m.RequestHeaderMode != extprocv3.ProcessingMode_SKIP ||
		m.ResponseHeaderMode != extprocv3.ProcessingMode_SEND || m.RequestBodyMode != extprocv3.ProcessingMode_BUFFERED || m.ResponseBodyMode != extprocv3.ProcessingMode_BUFFERED_PARTIAL {
		t.Errorf("what is said: %v", d)
	}
	for _, p := range []*extprocv3.ExternalProcessor{c, d} {
		if err := p.ValidateAll(); err != nil || p.RouteCacheAction != extprocv3.ExternalProcessor_RETAIN {
			t.Errorf("%v: %v", p, err)
		}
	}
}

// TestNotAlone: what may wait has requests answered with an error if there are others beside it, and says so.
func TestNotAlone(t *testing.T) {
	r := forward()
	found := []room.Referent{{Text: "one"}, {Text: "two"}, {Cluster: "asking/c"}, {Cluster: "asking/d"}}
	if extend(written(t, four), found, r); r.GetDirectResponse().GetStatus() != 500 {
		t.Errorf("%v", r)
	}
	if refs := refers(written(t, four).Says)[4:]; len(refs) != 2 || refs[0].Field != "[2]" || refs[1].Field != "[3]" || refs[0].Check("") == "" {
		t.Errorf("%+v", refs)
	}
	if refs := refers(written(t, scripts).Says); len(refs) != 2 {
		t.Errorf("scripts: %+v", refs)
	}
}

// TestWhatIsMissing closes, unless it may be missing.
func TestWhatIsMissing(t *testing.T) {
	r := forward()
	if extend(written(t, scripts), []room.Referent{{Text: "one"}, {Problem: "no"}}, r); r.GetDirectResponse() != nil || len(chained(t, r)) != 1 {
		t.Errorf("what may be missing is not left out: %v", r)
	}
	for text, found := range map[string][]room.Referent{
		scripts: {{Problem: "no"}, {Text: "two"}},
		`[{name: c, extProc: {backendRef: {name: proc, port: 80}}}]`: {{Problem: "no"}},
	} {
		r := forward()
		if extend(written(t, text), found, r); r.GetDirectResponse().GetStatus() != 500 || r.TypedPerFilterConfig[filter] != nil {
			t.Errorf("%s: %v", text, r)
		}
	}
	r = forward()
	if extend(written(t, scripts), nil, r); r.GetDirectResponse().GetStatus() != 500 {
		t.Errorf("nothing is known of any: %v", r)
	}
	r = &routev3.Route{Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 404}}}
	if extend(written(t, scripts), []room.Referent{{Text: "one"}, {Text: "two"}}, r); r.GetDirectResponse().Status != 404 || r.TypedPerFilterConfig != nil {
		t.Errorf("what answers by itself: %v", r)
	}
}

func TestCheck(t *testing.T) {
	const good = "function envoy_on_request(h) end"
	for script, want := range map[string]string{
		good:                        "",
		"envoy_on_response = print": "",
		"local x = 1\nx, envoy_on_request = 2, function(h) goto out ::out:: end": "",
		"":                                    "does nothing",
		"x = 1":                               "define the global function",
		"local " + good:                       "define the global function",
		"do " + good + " end":                 "define the global function",
		"function a.envoy_on_request() end":   "define the global function",
		"function a:envoy_on_request() end":   "define the global function",
		"x = 1\nfunction envoy_on_request(h":  "at its end",
		"x = 1\nif x than y() end\n" + good:   `line 2, at "than"`,
		"break\n" + good:                      "is no Lua",
		"goto nowhere\n" + good:               "is no Lua",
		"\x1bLJ\x02\n" + good:                 "is no Lua",
		good + strings.Repeat(" ", MaxScript): "more than 16384 bytes",
	} {
		if got := check(script); (got == "") != (want == "") || !strings.Contains(got, want) || strings.ContainsAny(got, "\n\r") {
			t.Errorf("%.60q: %q, want %q", script, got, want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("function envoy_on_request(h) h:headers():add('a', [[b]]) end")
	f.Add("local a <const> = {1, [2] = 3; 4} for i = 1, 2 do end")
	f.Fuzz(func(t *testing.T, script string) { check(script) })
}

// TestQuoted: what Lua reads is what was written, byte for byte.
func TestQuoted(t *testing.T) {
	if got := quoted("a\"\\\n\r\x00é9"); got != `"a\034\092\n\013\000\195\1699"` {
		t.Errorf("%s", got)
	}
}
