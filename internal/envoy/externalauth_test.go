package envoy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
)

// question is what a server was asked.
type question struct {
	method, path, host, body string
	header                   map[string]string
}

// questions are those of a server, in order.
type questions struct {
	mu  sync.Mutex
	all []question
}

func (q *questions) add(one question) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, one)
}

// take are those since the last time.
func (q *questions) take() []question {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.all
	q.all = nil
	return all
}

// judge is a server that speaks HTTP. The end of the path says what it answers.
func judge(t *testing.T) (*questions, []mesh.Endpoint) {
	asked := &questions{}
	return asked, serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // the test sees what is missing
		header := map[string]string{}
		for name := range r.Header {
			header[strings.ToLower(name)] = strings.Join(r.Header.Values(name), "|")
		}
		asked.add(question{r.Method, r.URL.RequestURI(), r.Host, string(body), header})
		w.Header().Set("X-User", "ann")
		w.Header().Set("X-Other", "from the server")
		w.Header().Set("Content-Type", "text/answer")
		switch _, verdict, _ := strings.Cut(r.URL.Path, "-"); verdict {
		case "deny":
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "who are you?")
		case "login":
			http.Redirect(w, r, "https://login.test/", http.StatusFound)
		case "empty":
			w.WriteHeader(http.StatusNoContent)
		case "broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "anonymous":
			w.Header().Del("X-User")
		case "hostile":
			w.Header().Set("X-Envoy-Upstream-Rq-Timeout-Ms", "1")
			w.Header().Set("Host", "elsewhere.test")
		case "hang":
			<-r.Context().Done()
		}
	})
}

// ask sends a request with a body, and returns the answer's besides.
func (g *gateway) ask(t *testing.T, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(method, g.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

const authRules = `
- matches: [{path: {type: PathPrefix, value: /all}}]
  filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: authz}}}]
  backendRefs: [{name: b}]
- matches: [{path: {type: RegularExpression, value: /named.*}}]
  filters:
  - type: ExternalAuth
    externalAuth:
      protocol: HTTP
      backendRef: {name: authz}
      http: {path: /check, allowedHeaders: [X-Session], allowedResponseHeaders: [X-User]}
      forwardBody: {maxSize: 10}
  - {type: CORS, cors: {allowOrigins: ["https://shop.test"], allowMethods: [PUT]}}
  backendRefs: [{name: b}]
- matches: [{path: {type: RegularExpression, value: /go.*}}]
  filters:
  - {type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: authz}}}
  - {type: RequestRedirect, requestRedirect: {hostname: elsewhere.test}}
- matches: [{path: {type: RegularExpression, value: /rewritten.*}}]
  filters:
  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Session, value: by the rule}]}}
  - {type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /new}}}
  - {type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: authz}, http: {allowedHeaders: [X-Session]}}}
  backendRefs: [{name: b}]
- matches: [{path: {value: /free}}]
  backendRefs: [{name: b}]
`

func authWorld(t *testing.T) (*questions, *gateway) {
	w := world{endpoints: echoes(t, "b"), hosts: host(t, strings.ReplaceAll(authRules, "PathPrefix, value: /all", "RegularExpression, value: /all.*"))}
	asked, at := judge(t)
	w.endpoints["authz"] = at
	return asked, w.start(t)
}

// What the server refuses, or allows by another status than 200, is not passed on; the client gets its
// answer.
func TestExternalAuthRefuses(t *testing.T) {
	asked, g := authWorld(t)
	for _, c := range []struct {
		path   string
		status int
		header [2]string
		body   string
	}{
		{"/all-deny", 401, [2]string{"WWW-Authenticate", "Basic"}, "who are you?"},
		{"/named-deny", 401, [2]string{"WWW-Authenticate", "Basic"}, "who are you?"},
		{"/go-deny", 401, [2]string{"Content-Type", "text/answer"}, "who are you?"},
		{"/rewritten-deny", 401, [2]string{"Content-Type", "text/answer"}, "who are you?"},
		{"/all-login", 302, [2]string{"Location", "https://login.test/"}, ""},
		{"/all-empty", 204, [2]string{"X-User", "ann"}, ""},
		{"/all-broken", 503, [2]string{"X-User", ""}, ""},
		{"/all/../all-deny", 401, [2]string{}, "who are you?"},
	} {
		response, body := g.ask(t, "GET", c.path, "")
		if response.StatusCode != c.status || response.Header.Get(c.header[0]) != c.header[1] || c.body != "" && body != c.body || strings.Contains(body, "Backend") {
			t.Errorf("%s: %d %v %q, want %d %v %q", c.path, response.StatusCode, response.Header, body, c.status, c.header, c.body)
		}
		if n := len(asked.take()); n != 1 {
			t.Errorf("%s: asked %d times", c.path, n)
		}
	}
	response, _ := g.ask(t, "GET", "/all-deny", "", "Connection", "Upgrade", "Upgrade", "websocket")
	if response.StatusCode == 200 || response.StatusCode == 101 {
		t.Errorf("a WebSocket was passed on: %d", response.StatusCode)
	}
	if response, got := g.send(t, "GET", "/free-deny"); response.StatusCode != 404 || got.Backend != "" {
		t.Errorf("/free-deny: %d", response.StatusCode)
	}
	asked.take()
	if _, got := g.send(t, "GET", "/free"); got.Backend != "b" || len(asked.take()) > 0 {
		t.Errorf("/free: %q, and the server may have been asked", got.Backend)
	}
}

// What the server is told, and what the backend is told of its answer.
func TestExternalAuthHeaders(t *testing.T) {
	asked, g := authWorld(t)
	client := []string{"Authorization", "Basic x", "X-Session", "s1", "X-Session", "s2", "X-User", "admin", "X-Secret", "x"}
	for _, c := range []struct {
		path    string
		told    question
		untold  []string // headers that the server does not get
		backend map[string]string
	}{
		{"/all?q=1", question{path: "/all?q=1", header: map[string]string{"authorization": "Basic x", "content-length": "0"}}, []string{"X-Session", "X-User", "X-Secret"},
			map[string]string{"X-User": "ann", "X-Other": "from the server", "X-Session": "s1|s2", "X-Secret": "x", "Content-Type": ""}},
		{"/named?q=1", question{path: "/check/named?q=1", header: map[string]string{"authorization": "Basic x", "x-session": "s1|s2"}}, []string{"X-User", "X-Secret"},
			map[string]string{"X-User": "ann", "X-Other": "", "X-Session": "s1|s2"}},
		{"/named-anonymous", question{path: "/check/named-anonymous"}, []string{"X-User"},
			map[string]string{"X-User": "", "X-Secret": "x"}},
		{"/all-hostile", question{path: "/all-hostile"}, nil,
			map[string]string{"X-Envoy-Upstream-Rq-Timeout-Ms": ""}},
		{"/rewritten", question{path: "/rewritten", header: map[string]string{"x-session": "s1|s2"}}, nil,
			map[string]string{"X-Session": "by the rule", "X-User": "ann"}},
	} {
		response, got := g.send(t, "GET", c.path, client...)
		if response.StatusCode != 200 || got.Backend != "b" || got.Host != strings.TrimPrefix(g.url, "http://") {
			t.Errorf("%s: %d %+v", c.path, response.StatusCode, got)
		}
		for name, want := range c.backend {
			if is := strings.Join(got.Header.Values(name), "|"); is != want {
				t.Errorf("%s: the backend got %s %q, want %q", c.path, name, is, want)
			}
		}
		all := asked.take()
		if len(all) != 1 || all[0].path != c.told.path || all[0].method != "GET" || all[0].host != strings.TrimPrefix(g.url, "http://") || all[0].body != "" {
			t.Fatalf("%s: the server was asked %+v", c.path, all)
		}
		for name, want := range c.told.header {
			if is := all[0].header[name]; is != want {
				t.Errorf("%s: the server was told %s %q, want %q", c.path, name, is, want)
			}
		}
		for _, name := range c.untold {
			if is := all[0].header[strings.ToLower(name)]; is != "" {
				t.Errorf("%s: the server was told %s %q", c.path, name, is)
			}
		}
	}
}

// Bodies are told as far as the filter says; longer ones are refused without a question.
func TestExternalAuthBody(t *testing.T) {
	asked, g := authWorld(t)
	for _, c := range []struct {
		path, body string
		status     int
		told       []string
	}{
		{"/named", "0123456789", 200, []string{"0123456789"}},
		{"/named", "0123456789a", 413, nil},
		{"/named-deny", "0", 401, []string{"0"}},
		{"/named", "", 200, []string{""}},
		{"/all", "0123456789a", 200, []string{""}},
	} {
		response, body := g.ask(t, "POST", c.path, c.body)
		var told []string
		for _, q := range asked.take() {
			told = append(told, q.body)
			if want := fmt.Sprint(len(q.body)); q.header["content-length"] != want {
				t.Errorf("%s: the server was told of %s bytes, want %s", c.path, q.header["content-length"], want)
			}
		}
		if response.StatusCode != c.status || !slices.Equal(told, c.told) || (c.status == 200) != strings.Contains(body, `"Backend":"b"`) {
			t.Errorf("POST %s %q: %d %q, told %q", c.path, c.body, response.StatusCode, body, told)
		}
	}
}

// A browser asks without credentials whether it may ask: that is for CORS alone. An answer that refuses has
// the headers without which the browser would not show it.
func TestExternalAuthAndCORS(t *testing.T) {
	asked, g := authWorld(t)
	preflight := []string{"Origin", "https://shop.test", "Access-Control-Request-Method", "PUT"}
	response, _ := g.send(t, "OPTIONS", "/named-deny", preflight...)
	if response.StatusCode != 200 || response.Header.Get("Access-Control-Allow-Origin") == "" || len(asked.take()) != 0 {
		t.Errorf("a preflight: %d %v", response.StatusCode, response.Header)
	}
	if response, _ := g.send(t, "OPTIONS", "/all-deny", preflight...); response.StatusCode != 401 {
		t.Errorf("a preflight of a rule without CORS: %d", response.StatusCode)
	}
	response, _ = g.send(t, "PUT", "/named-deny", preflight[:2]...)
	if response.StatusCode != 401 || response.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("refused: %d %v", response.StatusCode, response.Header)
	}
}

// Whatever keeps the server from answering, nothing is passed on.
func TestExternalAuthFailsClosed(t *testing.T) {
	w := world{endpoints: echoes(t, "b"), hosts: host(t, `
- matches: [{path: {value: /nowhere}}]
  filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: nowhere}}}]
  backendRefs: [{name: b}]
- matches: [{path: {value: /grpc-nowhere}}]
  filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: nowhere/h2}}}]
  backendRefs: [{name: b}]
- matches: [{path: {value: /none}}]
  filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: none}}}]
  backendRefs: [{name: b}]
- matches: [{path: {value: /grpc-none}}]
  filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: none/h2}}}]
  backendRefs: [{name: b}]
- matches: [{path: {value: /dead}}]
  filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: dead}}}]
  backendRefs: [{name: b}]
- matches: [{path: {value: /garbage}}]
  filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: garbage}}}]
  backendRefs: [{name: b}]
- matches: [{path: {value: /grpc-garbage}}]
  filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: garbage/h2}}}]
  backendRefs: [{name: b}]
- matches: [{path: {value: /check-hang}}]
  timeouts: {request: 200ms}
  filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: authz}}}]
  backendRefs: [{name: b}]
- backendRefs: [{name: b}]
`)}
	asked, at := judge(t)
	garbage := []mesh.Endpoint{listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "yes, all of it\r\n\r\n") })}
	dead := []mesh.Endpoint{{Address: "127.0.0.1", Port: porttest.Free(t, 1)[0]}}
	for name, at := range map[string][]mesh.Endpoint{"authz": at, "none": nil, "none/h2": nil, "dead": dead, "garbage": garbage, "garbage/h2": garbage} {
		w.endpoints[name] = at
	}
	g := w.start(t)
	for _, path := range []string{"/nowhere", "/grpc-nowhere", "/none", "/grpc-none", "/dead", "/garbage", "/grpc-garbage", "/check-hang"} {
		if response, got := g.send(t, "GET", path); response.StatusCode != 503 || got.Backend != "" {
			t.Errorf("%s: %d %q, want 503", path, response.StatusCode, got.Backend)
		}
	}
	asked.take()
	leaveUnanswered(t, g, asked)
	if response, got := g.send(t, "GET", "/"); response.StatusCode != 200 || got.Backend != "b" {
		t.Errorf("afterwards: %d %q", response.StatusCode, got.Backend)
	}
}

// leaveUnanswered is a client that goes away while the server thinks.
func leaveUnanswered(t *testing.T, g *gateway, asked *questions) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", g.url+"/check-hang", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if response, err := client.Do(request); err == nil {
			response.Body.Close()
		}
	}()
	eventually(t, "the server is asked", func() bool { return len(asked.take()) > 0 })
	cancel()
	<-done
}

// grpcJudge is a server that speaks ext_authz.
type grpcJudge struct {
	authv3.UnimplementedAuthorizationServer
	asked *questions
}

func (j grpcJudge) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	http := r.Attributes.Request.Http
	j.asked.add(question{http.Method, http.Path, http.Host, string(http.RawBody), http.Headers})
	set := func(name, value string) *corev3.HeaderValueOption {
		return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}}
	}
	if http.Headers["authorization"] != "Basic x" {
		return &authv3.CheckResponse{Status: &rpcstatus.Status{Code: int32(codes.PermissionDenied)}, HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode_Unauthorized}, Body: "who are you?", Headers: []*corev3.HeaderValueOption{set("www-authenticate", "Basic")},
		}}}, nil
	}
	return &authv3.CheckResponse{Status: &rpcstatus.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
		Headers:         []*corev3.HeaderValueOption{set("x-user", "ann"), set(":path", "/elsewhere"), set("host", "elsewhere.test")},
		HeadersToRemove: []string{"x-secret"},
	}}}, nil
}

func TestExternalAuthByGRPC(t *testing.T) {
	w := world{endpoints: echoes(t, "b"), hosts: host(t, `
- matches: [{path: {value: /all}}]
  filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: authz/h2}, forwardBody: {maxSize: 10}}}]
  backendRefs: [{name: b}]
- matches: [{path: {value: /named}}]
  filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: authz/h2}, grpc: {allowedHeaders: [X-Session, Authorization]}}}]
  backendRefs: [{name: b}]
`)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked, server := &questions{}, grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, grpcJudge{asked: asked})
	go func() { _ = server.Serve(l) }() // Stop ends it
	t.Cleanup(server.Stop)
	w.endpoints["authz/h2"] = []mesh.Endpoint{endpointAt(l)}
	g := w.start(t)
	told := func(path string) question {
		t.Helper()
		all := asked.take()
		if len(all) != 1 || all[0].path != path || all[0].method != "POST" {
			t.Fatalf("the server was asked %+v", all)
		}
		return all[0]
	}
	response, body := g.ask(t, "POST", "/all", "0123456789")
	if response.StatusCode != 401 || body != "who are you?" || response.Header.Get("WWW-Authenticate") != "Basic" {
		t.Errorf("refused: %d %q %v", response.StatusCode, body, response.Header)
	}
	if q := told("/all"); q.body != "0123456789" {
		t.Errorf("the server was told %+v", q)
	}
	who := []string{"Authorization", "Basic x", "X-Session", "s", "X-Secret", "x", "X-User", "admin"}
	response, body = g.ask(t, "POST", "/named", "0123456789a", who...)
	if response.StatusCode != 200 || !strings.Contains(body, `"Path":"/named"`) || !strings.Contains(body, `"X-User":["ann"]`) || strings.Contains(body, "X-Secret") || strings.Contains(body, "elsewhere") {
		t.Errorf("allowed: %d %s", response.StatusCode, body)
	}
	if q := told("/named"); q.header["x-session"] != "s" || q.header["x-secret"] != "" || q.body != "" {
		t.Errorf("the server was told %+v", q)
	}
	if response, _ = g.ask(t, "POST", "/all", "0123456789a", who...); response.StatusCode != 413 || len(asked.take()) != 0 {
		t.Errorf("a long body: %d", response.StatusCode)
	}
	g.ask(t, "POST", "/all", "", who...)
	if q := told("/all"); q.header["x-secret"] != "x" || bytes.ContainsRune([]byte(q.host), '/') {
		t.Errorf("the server was told %+v", q)
	}
}
