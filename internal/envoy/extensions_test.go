package envoy_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

// extended is a policy's section. A script is in its source; the name of a backendRef is that of a cluster, and
// "nowhere" is none.
func extended(t *testing.T, text string) []room.Decided {
	t.Helper()
	var all []v1alpha1.Extension
	if err := yaml.UnmarshalStrict([]byte(text), &all); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	d := room.Decided{Section: "extensions", Policy: "shop/more", Says: &all}
	for _, e := range all {
		switch {
		case e.Lua != nil:
			d.Referents = append(d.Referents, room.Referent{Text: e.Lua.Source})
		case e.Wasm != nil:
			d.Referents = append(d.Referents, room.Referent{Text: module(t)})
		case e.ExtProc.BackendRef.Name == "nowhere":
			d.Referents = append(d.Referents, room.Referent{Problem: "it does not exist"})
		default:
			d.Referents = append(d.Referents, room.Referent{Cluster: mesh.Asking(string(e.ExtProc.BackendRef.Name)), Authority: "proc.shop.svc:80"})
		}
	}
	return []room.Decided{d}
}

// script is an extension of one, whose lines have no quotes but double ones.
func script(lines ...string) string {
	return "{name: a, lua: {source: '" + strings.Join(lines, "\n\n") + "'}}"
}

func opened(extension string) string { return strings.Replace(extension, "{", "{failOpen: true, ", 1) }

func onRequest(lines string) string {
	return script("function envoy_on_request(h) " + lines + " end")
}

// troubled are scripts by path: some are well, and some are not in each way that there is.
func troubled() map[string]string {
	const loop = `while true do pcall(function() while true do end end) end`
	return map[string]string{
		"/header":        "[" + script(`function envoy_on_request(h) h:headers():add("x-script", "ran") end`, `function envoy_on_response(h) h:headers():add("x-answer", "ran") end`) + "]",
		"/order":         "[" + onRequest(`h:headers():add("x-script", "one")`) + ", " + strings.Replace(onRequest(`h:headers():add("x-script", h:headers():get("x-script") .. " two")`), "name: a", "name: b", 1) + "]",
		"/own":           "[" + onRequest(`h:respond({[":status"] = "418"}, "teapot")`) + "]",
		"/body":          "[" + onRequest(`local n = h:body():length() h:headers():add("x-script", tostring(n))`) + "]",
		"/body-then":     "[" + onRequest(`local n = h:body():length() h:headers():add("x-script", tostring(n))`) + ", " + strings.Replace(onRequest(`h:headers():replace("x-script", "after")`), "name: a", "name: b", 1) + "]",
		"/time":          "[" + onRequest(`h:headers():add("x-script", tostring(h:timestamp(EnvoyTimestampResolution.MILLISECOND) > 0))`) + "]",
		"/fails":         "[" + onRequest(`local x; x.y()`) + "]",
		"/fails-open":    "[" + opened(onRequest(`local x; x.y()`)) + "]",
		"/fails-late":    "[" + onRequest(`h:body() local x; x.y()`) + "]",
		"/loops":         "[" + onRequest(loop) + "]",
		"/loops-open":    "[" + opened(onRequest(loop)) + "]",
		"/answer":        "[" + script(`function envoy_on_response(h) h:headers():add("x-answer", "ran") local x; x.y() end`) + "]",
		"/answer-open":   "[" + opened(script(`function envoy_on_response(h) h:headers():add("x-answer", "ran") local x; x.y() end`)) + "]",
		"/luajit":        "[" + onRequest(`local s = "\q"`) + "]", // which Lua 5.1 takes for a q
		"/luajit-open":   "[" + opened(onRequest(`local s = "\q"`)) + "]",
		"/load":          "[" + script(`local json = require("cjson")`, `function envoy_on_request(h) end`) + "]",
		"/load-loops":    "[" + script(loop, `function envoy_on_request(h) end`) + "]",
		"/files":         "[" + onRequest(`assert(io == nil and os.execute == nil and require == nil and debug == nil and load == nil and loadstring == nil and string.dump == nil and getmetatable(h) == nil and getfenv == nil and package == nil and jit == nil, "a door")`) + "]",
		"/calls":         "[" + onRequest(`h:httpCall("a", {[":method"] = "GET", [":path"] = "/", [":authority"] = "a"}, "", 1000)`) + "]",
		"/elsewhere":     "[" + onRequest(`h:headers():replace(":path", "/own") h:headers():add("x-script", "moved")`) + "]",
		"/clears":        "[" + onRequest(`h:clearRouteCache()`) + "]",
		"/large":         "[" + onRequest(`h:headers():add("x-script", ("x"):rep(1e9))`) + "]",
		"/broken-closed": "[{name: a, extProc: {backendRef: {name: nowhere}}}]",
		"/broken-open":   "[{name: a, failOpen: true, extProc: {backendRef: {name: nowhere}}}]",
	}
}

// TestScripts runs scripts in a real Envoy: what they do to requests and answers, and that what is wrong with
// one stops the requests that meet it, if that, and no others.
func TestScripts(t *testing.T) {
	t.Parallel()
	proxy := world{endpoints: echoes(t, "a"), hosts: decidedHost(t, troubled(), toA, extended)}.start(t)
	for _, c := range []struct {
		path         string
		status       int
		heard, other string // headers, which the script adds
	}{
		{"/header", 200, "ran", "ran"},
		{"/order", 200, "one", ""},
		{"/own", 418, "", ""},
		{"/body", 200, "3", ""},
		{"/body-then", 500, "", ""}, // it would pass over the other one,
		{"/time", 200, "true", ""},
		{"/fails", 500, "", ""},
		{"/fails-open", 200, "", ""},
		{"/fails-late", 500, "", ""},
		{"/loops", 500, "", ""},
		{"/loops-open", 200, "", ""},
		{"/answer", 500, "", "ran"},
		{"/answer-open", 200, "", "ran"},
		{"/luajit", 500, "", ""},
		{"/luajit-open", 200, "", ""},
		{"/load", 500, "", ""},
		{"/load-loops", 500, "", ""},
		{"/files", 200, "", ""},
		{"/calls", 500, "", ""},
		{"/elsewhere", 200, "moved", ""}, // the route is as before
		{"/clears", 500, "", ""},
		{"/large", 500, "", ""},
		{"/broken-closed", 500, "", ""},
		{"/broken-open", 200, "", ""},
		{"/header", 200, "ran", "ran"}, // after all of that
	} {
		response, got := proxy.meets(t, c.path, "abc")
		served := c.status == 200
		if response.StatusCode != c.status || got.Header.Get("x-script") != c.heard || response.Header.Get("x-answer") != c.other || served != (got.Backend == "a") {
			t.Errorf("%s: %d, the backend %q heard %q, x-answer %q; want %+v", c.path, response.StatusCode, got.Backend, got.Header.Get("x-script"), response.Header.Get("x-answer"), c)
		}
	}
	for _, line := range []string{"shop/more a: script:1: attempt to index local", "it takes more than 1000000 instructions", "invalid escape sequence"} {
		eventually(t, "the log tells of it: "+line, func() bool { return strings.Contains(proxy.log.String(), line) })
	}
	const errors = "15" // of the requests above that an error was about, whatever became of them
	eventually(t, "the metrics tell of errors", func() bool { return proxy.counted("envoy_http_lua_errors") == errors })
}

// meets sends a request with a body.
func (g *gateway) meets(t *testing.T, path, body string) (*http.Response, echo) {
	t.Helper()
	response, text := g.ask(t, "POST", path, body)
	var got echo
	_ = yaml.Unmarshal([]byte(text), &got) // Envoy's own answers are no JSON
	return response, got
}

// counted is the value of a metric of the extension a of shop/more.
func (g *gateway) counted(name string) string {
	for line := range strings.Lines(body(g.stats + envoy.StatsPath)) {
		if strings.HasPrefix(line, name+"{") && strings.Contains(line, `weft_extension="shop/more/a"`) {
			return strings.TrimSpace(line[strings.LastIndex(line, " "):])
		}
	}
	return "0"
}

// processor is a server of ext_proc. The path says how it behaves.
type processor struct {
	extprocv3.UnimplementedExternalProcessorServer
}

func (processor) Process(s extprocv3.ExternalProcessor_ProcessServer) error {
	for {
		in, err := s.Recv()
		if err != nil {
			return nil //nolint:nilerr // the proxy has gone
		}
		out := &extprocv3.ProcessingResponse{}
		switch r := in.Request.(type) {
		case *extprocv3.ProcessingRequest_RequestHeaders:
			switch path := valueOf(r.RequestHeaders.Headers, ":path"); {
			case strings.HasPrefix(path, "/slow"):
				<-s.Context().Done()
				return nil
			case path == "/own":
				out.Response = &extprocv3.ProcessingResponse_ImmediateResponse{ImmediateResponse: &extprocv3.ImmediateResponse{Status: &typev3.HttpStatus{Code: 418}}}
			default:
				out.Response = &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{Response: adds("x-request", "told")}}
			}
		case *extprocv3.ProcessingRequest_ResponseHeaders:
			out.Response = &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{Response: adds("x-answer", "told")}}
		case *extprocv3.ProcessingRequest_RequestBody:
			out.Response = &extprocv3.ProcessingResponse_RequestBody{RequestBody: &extprocv3.BodyResponse{Response: adds("x-body", string(r.RequestBody.Body))}}
		case *extprocv3.ProcessingRequest_ResponseBody:
			out.Response = &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: &extprocv3.BodyResponse{Response: adds("x-answer-body", fmt.Sprint(len(r.ResponseBody.Body) > 0))}}
		}
		if err := s.Send(out); err != nil {
			return nil //nolint:nilerr // the proxy has gone
		}
	}
}

func valueOf(headers *corev3.HeaderMap, name string) string {
	for _, h := range headers.Headers {
		if h.Key == name {
			return string(h.RawValue)
		}
	}
	return ""
}

func adds(name, value string) *extprocv3.CommonResponse {
	return &extprocv3.CommonResponse{ClearRouteCache: true, HeaderMutation: &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{
		{Header: &corev3.HeaderValue{Key: name, RawValue: []byte(value)}},
	}}}
}

// processes is where a server of ext_proc listens.
func processes(t *testing.T) []mesh.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	extprocv3.RegisterExternalProcessorServer(server, processor{})
	go func() { _ = server.Serve(l) }() // Stop ends it
	t.Cleanup(server.Stop)
	return []mesh.Endpoint{endpointAt(l)}
}

const failOpen = "failOpen: true, "

// asksProc has a cluster asked.
func asksProc(cluster, more string) string {
	return "[{name: a, " + more + "extProc: {messageTimeout: 5s, backendRef: {name: " + cluster + "}}}]"
}

// TestExtProc has a real Envoy tell a server of requests and answers; where that is slow or away, requests fail
// or go on as they are to.
func TestExtProc(t *testing.T) {
	t.Parallel()
	soon := func(more string) string {
		return strings.Replace(asksProc("proc/h2", more), "5s", "100ms", 1)
	}
	mode := func(text string) string {
		return strings.Replace(asksProc("proc/h2", ""), "messageTimeout", "processingMode: {"+text+"}, messageTimeout", 1)
	}
	endpoints := echoes(t, "a")
	endpoints["proc/h2"] = processes(t)
	endpoints["away/h2"] = []mesh.Endpoint{{Address: "127.0.0.1", Port: porttest.Free(t, 1)[0]}}
	endpoints["none/h2"] = nil
	proxy := world{endpoints: endpoints, hosts: decidedHost(t, map[string]string{
		"/both":        asksProc("proc/h2", ""),
		"/then":        strings.TrimSuffix(asksProc("proc/h2", ""), "]") + ", " + strings.Replace(onRequest(`h:headers():add("x-body", "after")`), "name: a", "name: b", 1) + "]",
		"/answers":     mode("requestHeaderMode: Skip"),
		"/requests":    mode("responseHeaderMode: Skip"),
		"/body":        mode("requestBodyMode: Buffered"),
		"/answer-body": mode("responseBodyMode: Buffered"),
		"/own":         asksProc("proc/h2", ""),
		"/slow":        soon(""),
		"/slow-open":   soon(failOpen),
		"/away":        asksProc("away/h2", ""),
		"/away-open":   asksProc("away/h2", failOpen),
		"/none":        asksProc("none/h2", ""),
		"/none-open":   asksProc("none/h2", failOpen),
	}, toA, extended)}.start(t)
	for _, c := range []struct {
		path                string
		status              int
		request, answer     string // headers
		body, bodyOfAnswers string
	}{
		{"/both", 200, "told", "told", "", ""},
		{"/then", 500, "", "", "", ""}, // the same
		{"/answers", 200, "", "told", "", ""},
		{"/requests", 200, "told", "", "", ""},
		{"/body", 200, "told", "told", "abc", ""},
		{"/answer-body", 200, "told", "told", "", "true"},
		{"/own", 418, "", "", "", ""},
		{"/slow", 504, "", "", "", ""},
		{"/slow-open", 200, "", "", "", ""},
		{"/away", 500, "", "", "", ""},
		{"/away-open", 200, "", "", "", ""},
		{"/none", 500, "", "", "", ""},
		{"/none-open", 200, "", "", "", ""},
	} {
		response, got := proxy.meets(t, c.path, "abc")
		now := c
		now.status, now.request, now.body = response.StatusCode, got.Header.Get("x-request"), got.Header.Get("x-body")
		now.answer, now.bodyOfAnswers = response.Header.Get("x-answer"), response.Header.Get("x-answer-body")
		if now != c || (got.Backend == "a") != (c.status == 200) {
			t.Errorf("%+v, by the backend %q; want %+v", now, got.Backend, c)
		}
	}
	for _, name := range []string{"streams_failed", "message_timeouts", "failure_mode_allowed", "immediate_responses_sent", "streams_started"} {
		eventually(t, "the metrics tell of it", func() bool { return proxy.counted("envoy_http_ext_proc_"+name) != "0" })
	}
}

// lingering is a proxy whose store has an operator keep the clusters that questions go through for a time.
type lingering struct {
	*gateway
	store  *xds.Store
	facts  *xds.Facts
	server []mesh.Endpoint // of ext_proc
	port   uint32
}

const changingRoutes, changingBackend = "gateway/shop/web/80", "service/shop/cart/80"

func startLingering(t *testing.T) lingering {
	t.Helper()
	return startDraining(t, 20*time.Second)
}

// startDraining is startLingering with another time to drain.
func startDraining(t *testing.T, drain time.Duration) lingering {
	t.Helper()
	l := lingering{store: xds.NewStore(nil), facts: xds.NewFacts(), server: processes(t)}
	certificate, ports := keyPair(t, "weft-xds.weft-system.svc"), porttest.Free(t, 4)
	l.port = ports[3]
	door := knock{token: "who I am", heard: make(chan string, 10), open: make(chan bool)}
	close(door.open)
	p := sample
	p.XDSAddress, p.XDSName = operate(t, certificate, xds.Options{Store: l.store, Facts: l.facts, Authenticator: door, Linger: mesh.Linger}), "weft-xds.weft-system.svc"
	p.AdminPort, p.ReadyPort, p.StatsPort = ports[0], ports[1], ports[2]
	p.TokenSDSPath, p.RootsSDSPath = files(t, door.token, certificate.Chain)
	commit(l.store, map[string]proto.Message{
		changingRoutes:  envoy.Listener(mesh.Listener{Name: changingRoutes, Port: ports[3], Chains: []mesh.Chain{{Name: "http", Routes: changingRoutes}}}),
		changingBackend: envoy.Cluster(mesh.Cluster{Name: changingBackend, Protocol: mesh.HTTP1}),
	}, map[string]proto.Message{
		changingRoutes:  envoy.RouteConfiguration(changingRoutes),
		changingBackend: envoy.Endpoints(mesh.Endpoints{Cluster: changingBackend, Addresses: echoes(t, changingBackend)[changingBackend]}),
	}, l.says(t, ""))
	l.gateway = run(t, bootstrap(t, p), drain)
	l.admin = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	l.url = "http://127.0.0.1:" + fmt.Sprint(ports[3])
	eventually(t, "the proxy is ready", func() bool { return status(fmt.Sprintf("http://127.0.0.1:%d", p.ReadyPort)+envoy.ReadyPath) == 200 })
	return l
}

// says has all requests meet what is written.
func (l lingering) says(t *testing.T, text string) map[string]proto.Message {
	t.Helper()
	host := virtualHost(t, changingRoutes, "*", fmt.Sprintf(`[{backendRefs: [{name: %s}]}]`, changingBackend))
	if text != "" {
		host.Rules[0].Policies = extended(t, text)
	}
	return map[string]proto.Message{host.Name(): envoy.VirtualHost(host)}
}

func procName(i int) string { return fmt.Sprintf("service/shop/proc-%d/80/h2", i) }

// there has the server under a name.
func (l lingering) there(i int, budget uint32) []map[string]proto.Message {
	name, asking := procName(i), mesh.Asking(procName(i))
	return []map[string]proto.Message{{
		name:   envoy.Cluster(mesh.Cluster{Name: name, Endpoints: name, Protocol: mesh.HTTP2, Retries: &mesh.RetryBudget{Percent: budget}}),
		asking: envoy.AskingCluster(asking),
	}, {name: envoy.Endpoints(mesh.Endpoints{Cluster: name, Addresses: l.server})}}
}

func gone(i int) map[string]proto.Message {
	return map[string]proto.Message{procName(i): (*clusterv3.Cluster)(nil), mesh.Asking(procName(i)): (*clusterv3.Cluster)(nil)}
}

// changes commits one change, and waits until the proxy has it and requests have ended since.
func (l lingering) changes(t *testing.T, ended func() int64, change []map[string]proto.Message) {
	t.Helper()
	before := ended()
	commit(l.store, change...)
	revision := l.store.Revision()
	eventually(t, "the proxy has the change", func() bool {
		all := l.facts.All()
		return len(all) == 1 && all[0].Acknowledged >= revision && len(all[0].Refused) == 0
	})
	eventually(t, "requests end", func() bool { return ended() >= before+10 })
}

// TestExtensionsChange: while extensions come, change and go, and the server is called otherwise, no request fails.
func TestExtensionsChange(t *testing.T) {
	t.Parallel()
	l := startLingering(t)
	ended := l.keepAskingAt(t, "shop.test")
	asks := func(i int) string {
		return fmt.Sprintf("{name: b, extProc: {messageTimeout: 10s, backendRef: {name: %s}}}", procName(i))
	}
	for i := range 20 {
		one, other := onRequest(fmt.Sprintf(`h:headers():add("x-script", "%d")`, i)), strings.Replace(onRequest(`h:headers():add("x-script", "other")`), "name: a", "name: b", 1)
		for _, change := range [][]map[string]proto.Message{
			{l.says(t, "["+one+"]")},
			append(l.there(i, 1), l.says(t, "["+asks(i)+"]")),
			append(l.there(i, 2), l.says(t, "["+one+", "+other+"]")),
			append(l.there(i+1, 2), l.says(t, "["+asks(i+1)+"]"), gone(i)),
			{l.says(t, ""), gone(i + 1)},
		} {
			l.changes(t, ended, change)
		}
	}
	t.Logf("%d requests under 100 changes", ended())
	commit(l.store, l.says(t, "["+onRequest(`h:headers():add("x-script", "last")`)+"]"))
	eventually(t, "the last script runs", func() bool {
		_, got := l.send(t, "GET", "/")
		return got.Header.Get("x-script") == "last"
	})
}
