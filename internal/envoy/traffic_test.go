package envoy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
)

func TestHeaders(t *testing.T) {
	g := world{endpoints: echoes(t, "a"), hosts: host(t, `
- filters:
  - type: RequestHeaderModifier
    requestHeaderModifier:
      set: [{name: X-Set, value: 100% %PROTOCOL%}, {name: Host, value: inner.test}, {name: x-last, value: rule}, {name: x-gone, value: rule}]
      add: [{name: x-add, value: two}]
      remove: [X-Remove, x-again]
  - type: ResponseHeaderModifier
    responseHeaderModifier: {add: [{name: x-answer, value: rule}], set: [{name: x-last, value: rule}]}
  backendRefs:
  - name: a
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set: [{name: x-last, value: backend}]
        add: [{name: x-add, value: three}, {name: x-again, value: backend}]
        remove: [X-Gone]
    - type: ResponseHeaderModifier
      responseHeaderModifier: {add: [{name: x-answer, value: backend}], set: [{name: x-last, value: backend}]}
- matches: [{path: {value: /host}}]
  filters: [{type: URLRewrite, urlRewrite: {hostname: rewritten.test, path: {type: ReplaceFullPath, replaceFullPath: '/x\1'}}}]
  backendRefs: [{name: a}]
- matches: [{path: {value: /plain}}]
  backendRefs: [{name: a}]
`)}.start(t)
	response, got := g.send(t, "GET", "/", "x-set", "one", "x-set", "two", "x-add", "one", "x-remove", "r", "x-again", "client", "x-gone", "client")
	for name, want := range map[string]string{
		"X-Set": "100% %PROTOCOL%", "X-Add": "one,two,three", "X-Remove": "", "X-Again": "backend", "X-Last": "backend", "X-Gone": "",
	} {
		if all := strings.Join(got.Header[name], ","); all != want {
			t.Errorf("the backend got %s %q, want %q", name, all, want)
		}
	}
	// An answer passes the backend's filters first.
	for name, want := range map[string]string{"Server": "backend", "X-Last": "rule", "X-Answer": "backend,rule"} {
		if all := strings.Join(response.Header[name], ","); all != want {
			t.Errorf("the client got %s %q, want %q", name, all, want)
		}
	}
	if got.Host != "inner.test" {
		t.Errorf("the backend got Host %q", got.Host)
	}
	if _, got := g.send(t, "GET", "/host?q=1"); got.Host != "rewritten.test" || got.Path != `/x\1?q=1` {
		t.Errorf("rewritten to %s%s", got.Host, got.Path)
	}
	_, got = g.send(t, "GET", "/plain", "Host", "kept.test:8080", "X-Forwarded-For", "1.2.3.4")
	if got.Host != "kept.test:8080" || !strings.HasPrefix(got.Header.Get("X-Forwarded-For"), "1.2.3.4,") {
		t.Errorf("the backend got %+v", got)
	}
	steersNothing(t, g)
	steersNothing(t, g, "X-Forwarded-For", "1.2.3.4")
}

// steersNothing sends what Envoy obeys of clients that it takes for internal.
func steersNothing(t *testing.T, g *gateway, headers ...string) {
	t.Helper()
	response, got := g.send(t, "GET", "/plain", append(headers, "X-Envoy-Upstream-Rq-Timeout-Ms", "1")...)
	for _, headers := range []http.Header{got.Header, response.Header} {
		for name := range headers {
			if strings.HasPrefix(name, "X-Envoy-") && name != "X-Envoy-External-Address" {
				t.Errorf("%s went through", name)
			}
		}
	}
}

// A request is sent again while no backend can have seen it, and never after.
func TestRetries(t *testing.T) {
	var broken, flaky atomic.Int32
	closed := closedPort(t)
	endpoints := echoes(t, "a")
	endpoints["half"] = append([]mesh.Endpoint{closed}, endpoints["a"]...)
	endpoints["closed"] = []mesh.Endpoint{closed}
	endpoints["broken"] = serve(t, func(http.ResponseWriter, *http.Request) {
		broken.Add(1)
		panic(http.ErrAbortHandler)
	})
	endpoints["flaky"] = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if flaky.Add(1)%3 != 0 {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	proxy := world{endpoints: endpoints, hosts: host(t, `
- matches: [{path: {value: /half}}]
  backendRefs: [{name: half}]
- matches: [{path: {value: /closed}}]
  backendRefs: [{name: closed}]
- matches: [{path: {value: /broken}}]
  backendRefs: [{name: broken}]
- matches: [{path: {value: /broken-retried}}]
  retry: {attempts: 2}
  backendRefs: [{name: broken}]
- matches: [{path: {value: /flaky}}]
  retry: {attempts: 2, codes: [502], backoff: 1ms}
  backendRefs: [{name: flaky}]
- matches: [{path: {value: /flaky-once}}]
  backendRefs: [{name: flaky}]
`)}.start(t)
	for range 50 {
		if response, _ := proxy.send(t, "POST", "/half"); response.StatusCode != 200 {
			t.Fatalf("half: %d", response.StatusCode)
		}
	}
	for _, c := range []struct {
		path         string
		status, sent int
		count        *atomic.Int32
	}{
		{"/closed", 503, 0, new(atomic.Int32)}, {"/broken", 503, 1, &broken}, {"/broken-retried", 503, 3, &broken},
		{"/flaky", 200, 3, &flaky}, {"/flaky-once", 502, 1, &flaky},
	} {
		c.count.Store(0)
		if response, _ := proxy.send(t, "POST", c.path); response.StatusCode != c.status || int(c.count.Load()) != c.sent {
			t.Errorf("%s: %d after %d requests, want %d after %d", c.path, response.StatusCode, c.count.Load(), c.status, c.sent)
		}
	}
}

// closedPort refuses connections.
func closedPort(t *testing.T) mesh.Endpoint {
	return mesh.Endpoint{Address: "127.0.0.1", Port: porttest.Free(t, 1)[0]}
}

func TestTimeouts(t *testing.T) {
	var slow atomic.Int32
	endpoints := map[string][]mesh.Endpoint{"slow": serve(t, func(_ http.ResponseWriter, r *http.Request) {
		slow.Add(1)
		<-r.Context().Done() // the proxy gives up
	})}
	proxy := world{endpoints: endpoints, hosts: host(t, `
- matches: [{path: {value: /request}}]
  timeouts: {request: 100ms}
  backendRefs: [{name: slow}]
- matches: [{path: {value: /backend}}]
  timeouts: {backendRequest: 100ms}
  backendRefs: [{name: slow}]
- matches: [{path: {value: /retried}}]
  timeouts: {request: 5s, backendRequest: 100ms}
  retry: {attempts: 2}
  backendRefs: [{name: slow}]
`)}.start(t)
	for path, sent := range map[string]int32{"/request": 1, "/backend": 1, "/retried": 3} {
		slow.Store(0)
		if response, _ := proxy.send(t, "GET", path); response.StatusCode != 504 || slow.Load() != sent {
			t.Errorf("%s: %d after %d requests, want 504 after %d", path, response.StatusCode, slow.Load(), sent)
		}
	}
	eventually(t, "the log tells of the time-outs", func() bool {
		return strings.Count(proxy.log.String(), `"status":504`) == 3
	})
	checkLog(t, proxy.log.String())
}

func checkLog(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		var entry struct{ Route, Path, Cluster string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			continue // Envoy's own
		}
		if !strings.HasPrefix(entry.Route, "httproute/shop/web/") || strings.TrimSuffix(entry.Cluster, "/own-retries") != "slow" || strings.Contains(entry.Path, "?") {
			t.Errorf("logged %s", line)
		}
	}
}

func TestMirrors(t *testing.T) {
	copies := make(chan string, 100)
	endpoints := echoes(t, "a")
	for _, name := range []string{"all", "none", "too"} {
		endpoints[name] = serve(t, func(_ http.ResponseWriter, r *http.Request) { copies <- name + " " + r.Host + r.RequestURI })
	}
	proxy := world{endpoints: endpoints, hosts: host(t, `
- filters:
  - {type: RequestMirror, requestMirror: {backendRef: {name: all}}}
  - {type: RequestMirror, requestMirror: {backendRef: {name: none}, percent: 0}}
  - {type: RequestMirror, requestMirror: {backendRef: {name: too}, fraction: {numerator: 3, denominator: 3}}}
  backendRefs: [{name: a}]
`)}.start(t)
	if _, got := proxy.send(t, "POST", "/x?y=z", "Host", "shop.test"); got.Backend != "a" {
		t.Errorf("answered by %q", got.Backend)
	}
	got := []string{<-copies, <-copies}
	slices.Sort(got)
	if want := []string{"all shop.test/x?y=z", "too shop.test/x?y=z"}; !slices.Equal(got, want) {
		t.Errorf("copies %q, want %q", got, want)
	}
}

func TestCORS(t *testing.T) {
	proxy := world{endpoints: echoes(t, "a"), hosts: host(t, `
- matches: [{path: {value: /named}}]
  filters:
  - type: CORS
    cors: {allowOrigins: ["https://*.shop.test", "http://one.test:80"], allowMethods: [PUT], allowHeaders: [x-a, x-b], allowCredentials: true, exposeHeaders: ["*"], maxAge: 60}
  backendRefs: [{name: a}]
- matches: [{path: {value: /any}}]
  filters: [{type: CORS, cors: {allowOrigins: ["*"], allowMethods: ["*"], allowHeaders: ["*"], exposeHeaders: ["*"]}}]
  backendRefs: [{name: a}]
`)}.start(t)
	for _, c := range []struct{ method, path, origin, want string }{
		{"OPTIONS", "/named", "https://a.b.shop.test", "200 https://a.b.shop.test|PUT|x-a, x-b|true||60"},
		{"OPTIONS", "/named", "https://a.shop.test.evil.test", "200 |PUT|x-a, x-b|true||60"},
		{"OPTIONS", "/named", "https://a.shop.test:8443", "200 |PUT|x-a, x-b|true||60"},
		{"OPTIONS", "/any", "null", "200 null|PATCH|x-c||*|5"},
		{"GET", "/named", "http://one.test", "200 http://one.test|||true||"},
		{"GET", "/named", "http://two.test", "200 |||||"},
		{"GET", "/any", "http://two.test", "200 http://two.test||||*|"},
	} {
		response, _ := proxy.send(t, c.method, c.path, "Origin", c.origin,
			"Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", "x-c")
		var values []string
		for _, name := range []string{"Allow-Origin", "Allow-Methods", "Allow-Headers", "Allow-Credentials", "Expose-Headers", "Max-Age"} {
			values = append(values, response.Header.Get("Access-Control-"+name))
		}
		if got := fmt.Sprintf("%d %s", response.StatusCode, strings.Join(values, "|")); got != c.want {
			t.Errorf("%s %s from %s: %s, want %s", c.method, c.path, c.origin, got, c.want)
		}
		if c.method == "GET" && response.Header.Get("Vary") != "Origin" {
			t.Errorf("%s: Vary is %q", c.path, response.Header.Get("Vary"))
		}
	}
}

func TestWebSocket(t *testing.T) {
	endpoints := map[string][]mesh.Endpoint{"socket": serve(t, func(w http.ResponseWriter, r *http.Request) {
		connection, both, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer connection.Close()
		fmt.Fprintf(both, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		both.Flush()
		line, _ := both.ReadString('\n') // the client sees what is missing
		fmt.Fprintf(connection, "heard %s", line)
	})}
	proxy := world{endpoints: endpoints, hosts: host(t, `[{backendRefs: [{name: socket}]}]`)}.start(t)
	connection, err := net.Dial("tcp", strings.TrimPrefix(proxy.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprint(connection, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	read := bufio.NewReader(connection)
	response, err := http.ReadResponse(read, nil)
	if err != nil || response.StatusCode != 101 {
		t.Fatalf("%v, %v", response, err)
	}
	fmt.Fprint(connection, "hello\n")
	if line, err := read.ReadString('\n'); line != "heard hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestHTTP2(t *testing.T) {
	var spoken atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { spoken.Store(int32(r.ProtoMajor)) }))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	proxy := world{http2: "grpc", endpoints: map[string][]mesh.Endpoint{"grpc": {endpointAt(server.Listener)}},
		hosts: host(t, `[{backendRefs: [{name: grpc}]}]`)}.start(t)
	if response, _ := proxy.send(t, "POST", "/"); response.StatusCode != 200 || spoken.Load() != 2 {
		t.Errorf("%d over HTTP/%d", response.StatusCode, spoken.Load())
	}
}
