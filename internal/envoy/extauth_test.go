package envoy_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
)

// asks is a policy's section, of a level, that has a server asked whose cluster has the name of its Service, or that of
// HTTP/2 after it. Service gone is not there.
func asks(t *testing.T, at room.Level, text string) room.Decided {
	t.Helper()
	says := &v1alpha1.ExtAuth{}
	if err := yaml.UnmarshalStrict([]byte(text), says); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	d := room.Decided{Section: "extAuth", Policy: fmt.Sprintf("shop/level-%d", at), Level: at, Says: says}
	cluster := string(says.BackendRef.Name)
	if says.Protocol == "GRPC" {
		cluster += "/h2"
	}
	found := room.Referent{Cluster: mesh.Asking(cluster), Reached: cluster, Authority: cluster + ".shop.svc:80"}
	if says.BackendRef.Name == "gone" {
		found = room.Referent{Problem: "it is not there"}
	}
	d.Referents = []room.Referent{found}
	return d
}

// member is a server of a name that says yes to requests with its name in the header x-yes, which the app is told of in
// a header of its own. It takes both protocols.
type member struct {
	authv3.UnimplementedAuthorizationServer
	name  string
	asked *questions
}

func (m member) allows(told question) bool {
	told.header["x-member"] = m.name
	m.asked.add(told)
	return strings.Contains(told.header["x-yes"], m.name)
}

func (m member) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // the test sees what is missing
	told := question{method: r.Method, path: r.URL.Path, host: r.Host, body: string(body), header: map[string]string{}}
	for name := range r.Header {
		told.header[strings.ToLower(name)] = strings.Join(r.Header.Values(name), "|")
	}
	w.Header().Set("X-By-"+m.name, "ann")
	if !m.allows(told) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, m.name+" says no")
	}
}

func (m member) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	http := r.Attributes.Request.Http
	headers := map[string]string{}
	maps.Copy(headers, http.Headers) // which are none of who may see none
	if !m.allows(question{http.Method, http.Path, http.Host, string(http.RawBody), headers}) {
		return &authv3.CheckResponse{Status: &rpcstatus.Status{Code: int32(codes.PermissionDenied)}, HttpResponse: &authv3.CheckResponse_DeniedResponse{
			DeniedResponse: &authv3.DeniedHttpResponse{Body: m.name + " says no"},
		}}, nil
	}
	return &authv3.CheckResponse{Status: &rpcstatus.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
		Headers: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "x-by-" + m.name, Value: "ann"}}},
	}}}, nil
}

// panel are members, by whose names clusters lead to them.
func panel(t *testing.T, w *world, asked *questions, names ...string) {
	t.Helper()
	for _, name := range names {
		m := member{name: name, asked: asked}
		w.endpoints[name] = serve(t, m.ServeHTTP)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		authv3.RegisterAuthorizationServer(server, m)
		go func() { _ = server.Serve(l) }() // Stop ends it
		t.Cleanup(server.Stop)
		w.endpoints[name+"/h2"] = []mesh.Endpoint{endpointAt(l)}
	}
}

// ofMember is the section that has a member asked.
func ofMember(name, protocol, more string) string {
	headers := "x-yes"
	if name != "outer" {
		headers += ", x-by-outer"
	}
	told := "http: {allowedHeaders: [" + headers + "], allowedResponseHeaders: [x-by-" + name + "]}"
	if protocol == "GRPC" {
		told = "grpc: {allowedHeaders: [" + headers + "]}, serverHeaders: [X-By-" + name + "]"
	}
	return fmt.Sprintf("{protocol: %s, backendRef: {name: %s, port: 80}, %s%s}", protocol, name, told, more)
}

// TestLevelsOfServers: whichever two levels have a server asked, nobody is, and nothing passes: a proxy asks one. The
// filter of the route asks another one beside it, after it, and both must say yes.
func TestLevelsOfServers(t *testing.T) {
	t.Parallel()
	asked := &questions{}
	w := world{endpoints: echoes(t, "a")}
	panel(t, &w, asked, "outer", "inner", "route")
	protocols, n, paths := []string{"HTTP", "GRPC"}, 0, map[string][]room.Decided{}
	for out := room.AtMesh; out <= room.AtRule; out++ {
		for in := out; in <= room.AtRule; in++ {
			inner := asks(t, in, ofMember("inner", protocols[n/2%2], ", failOpen: true"))
			inner.Policy += "-too"
			paths[fmt.Sprintf("/%d-%d", out, in)] = []room.Decided{asks(t, out, ofMember("outer", protocols[n%2], "")), inner}
			n++
		}
	}
	w.hosts = guardedHost(t, paths)
	for _, protocol := range protocols {
		filter := rules(t, `[{matches: [{path: {value: /filter-`+protocol+`}}], filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: route}, http: {allowedHeaders: [x-yes]}}}], backendRefs: [{name: a}]}]`)
		filter[0].Guards = []room.Decided{asks(t, room.AtService, ofMember("outer", protocol, ""))}
		w.hosts[0].Rules = append(w.hosts[0].Rules, filter...)
	}
	g := w.start(t)
	for path := range paths {
		if response, got := g.send(t, "GET", path, "X-Yes", "outer inner"); response.StatusCode != 503 || got.Backend != "" || len(asked.take()) > 0 {
			t.Errorf("%s: %d by %q", path, response.StatusCode, got.Backend)
		}
	}
	for _, protocol := range protocols {
		panelRules(t, g, asked, "/filter-"+protocol, "outer", "route")
	}
}

// panelRules asks of a path with each combination of two members' word.
func panelRules(t *testing.T, g *gateway, asked *questions, path, outer, inner string) {
	t.Helper()
	for yes, c := range map[string]struct{ asked, no string }{
		outer + " " + inner: {outer + " " + inner, ""},
		outer:               {outer + " " + inner, inner},
		inner:               {outer, outer},
		"nobody":            {outer, outer},
	} {
		request, err := http.NewRequest("GET", g.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"X-Yes": yes, "X-By-" + outer: "root", "X-By-" + inner: "root"} {
			request.Header.Set(name, value)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		want := 200
		if c.no != "" {
			want = 403
		}
		if response.StatusCode != want || c.no != "" && string(body) != c.no+" says no" || c.no == "" && strings.Contains(string(body), "root") {
			t.Errorf("%s, which %s allow: %d %q, want %d", path, yes, response.StatusCode, body, want)
		}
		var order []string
		for _, q := range asked.take() {
			order = append(order, q.header["x-member"])
		}
		if got := strings.Join(order, " "); got != c.asked {
			t.Errorf("%s, which %s allow: %s were asked, want %s", path, yes, got, c.asked)
		}
	}
}

// TestHeadersOfServers: the server of a filter is told of what the policy's says, which nobody else can; bodies reach
// both.
func TestHeadersOfServers(t *testing.T) {
	t.Parallel()
	asked := &questions{}
	w := world{endpoints: echoes(t, "a"), hosts: host(t, "[]")}
	panel(t, &w, asked, "outer", "inner")
	for _, protocol := range []string{"HTTP", "GRPC"} {
		rule := rules(t, `[{matches: [{path: {value: /`+protocol+`}}], filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: inner}, forwardBody: {maxSize: 5}, http: {allowedHeaders: [x-yes, x-by-outer], allowedResponseHeaders: [x-by-inner]}}}], backendRefs: [{name: a}]}]`)
		rule[0].Guards = []room.Decided{asks(t, room.AtMesh, ofMember("outer", protocol, ", forwardBody: {maxSize: 10}"))}
		w.hosts[0].Rules = append(w.hosts[0].Rules, rule...)
	}
	g := w.start(t)
	who := []string{"X-Yes", "outer inner", "X-By-Outer", "root", "X-By-Inner", "root"}
	for _, path := range []string{"/HTTP", "/GRPC"} {
		_, body := g.ask(t, "POST", path, "12345", who...)
		if !strings.Contains(body, `"X-By-Outer":["ann"]`) || !strings.Contains(body, `"X-By-Inner":["ann"]`) {
			t.Errorf("%s: the app got %s", path, body)
		}
		all := asked.take()
		if len(all) != 2 {
			t.Fatalf("%s: asked %+v", path, all)
		}
		if all[0].header["x-by-outer"] != "" || all[1].header["x-by-outer"] != "ann" || all[0].body+all[1].body != "1234512345" {
			t.Errorf("%s: the servers were told %+v", path, all)
		}
		if response, _ := g.ask(t, "POST", path, "12345678901", who...); response.StatusCode != 413 || len(asked.take()) != 0 {
			t.Errorf("%s, with a body that is too long: %d", path, response.StatusCode)
		}
	}
}

// TestServersThatDoNotAnswer: what cannot be asked about is refused; with failOpen it goes on, without what only the
// server may say.
func TestServersThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	_, at := judge(t)
	dead := []mesh.Endpoint{{Address: "127.0.0.1", Port: porttest.Free(t, 1)[0]}}
	w := world{endpoints: echoes(t, "a")}
	for name, at := range map[string][]mesh.Endpoint{"authz": at, "none": nil, "none/h2": nil, "dead": dead, "dead/h2": dead} {
		w.endpoints[name] = at
	}
	paths := map[string][]room.Decided{}
	for path, text := range map[string]string{
		"/gone":        "{protocol: HTTP, backendRef: {name: gone, port: 80}",
		"/none":        "{protocol: HTTP, backendRef: {name: none, port: 80}",
		"/none-grpc":   "{protocol: GRPC, backendRef: {name: none, port: 80}",
		"/nowhere":     "{protocol: HTTP, backendRef: {name: nowhere, port: 80}",
		"/dead":        "{protocol: HTTP, backendRef: {name: dead, port: 80}",
		"/dead-grpc":   "{protocol: GRPC, backendRef: {name: dead, port: 80}",
		"/slow-hang":   "{protocol: HTTP, backendRef: {name: authz, port: 80}, timeout: 200ms",
		"/well-broken": "{protocol: HTTP, backendRef: {name: authz, port: 80}",
	} {
		paths[path] = []room.Decided{asks(t, room.AtService, text+", serverHeaders: [X-User]}")}
		open := asks(t, room.AtService, text+", serverHeaders: [X-User], failOpen: true}")
		paths["/open"+path] = []room.Decided{open}
		both := asks(t, room.AtMesh, text+"}")
		paths["/outer"+path] = []room.Decided{both, open}
	}
	for _, path := range []string{"-deny", "-empty"} {
		paths["/open/well"+path] = []room.Decided{asks(t, room.AtService, "{protocol: HTTP, backendRef: {name: authz, port: 80}, failOpen: true}")}
	}
	w.hosts = guardedHost(t, paths)
	g := w.start(t)
	for path := range paths {
		want := 503
		switch {
		case strings.HasSuffix(path, "-deny"):
			want = 401
		case strings.HasSuffix(path, "-empty"):
			want = 204
		case strings.HasPrefix(path, "/open"):
			want = 200
		}
		before := time.Now()
		response, got := g.send(t, "GET", path, "X-User", "root")
		if response.StatusCode != want || (got.Backend == "a") != (want == 200) || got.Header.Get("X-User") != "" {
			t.Errorf("%s: %d by %q, with the user %q, want %d", path, response.StatusCode, got.Backend, got.Header.Get("X-User"), want)
		}
		if took := time.Since(before); took > 5*time.Second {
			t.Errorf("%s took %s", path, took)
		}
	}
}

// askedPod is one whose sidecar asks a server that waits to be told.
type askedPod struct {
	guard
	slow
}

// asks says whether a request is asked about.
func (p askedPod) asks() bool {
	answer := p.requests(1)
	select {
	case <-p.heard:
		p.let <- struct{}{}
		return <-answer == 200
	case <-answer:
		return false
	}
}

func (p askedPod) requests(n int) chan int {
	answers := make(chan int, n)
	for range n {
		go func() { answers <- status(fmt.Sprintf("http://127.0.0.1:%d/", p.web)) }()
	}
	return answers
}

// over has something change while requests wait for the server, which lets all of them in then.
func (p askedPod) over(t *testing.T, what string, change func()) {
	t.Helper()
	answers := p.requests(inFlight)
	for heard := 0; heard < inFlight; {
		select {
		case <-p.heard:
			heard++
		case answer := <-answers:
			t.Fatalf("%s: a request was answered %d without a question", what, answer)
		}
	}
	change()
	var got []int
	for len(got) < inFlight {
		select {
		case p.let <- struct{}{}:
		case answer := <-answers:
			got = append(got, answer)
		}
	}
	if slices.Min(got) != 200 || slices.Max(got) != 200 {
		t.Errorf("%s: requests with a question under way were answered %v", what, got)
	}
}

// TestServersOfPods: a sidecar has a server asked by the port that is called, the kubelet's probes not; what is being
// asked about when that changes, or ends, is answered as the server says.
func TestServersOfPods(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP", "GRPC"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			g, s := startGuard(t), slow{heard: make(chan struct{}, inFlight), let: make(chan struct{})}
			at, name, speaks := s.served(t, protocol == "GRPC"), "service/shop/authz/80", mesh.HTTP1
			if protocol == "GRPC" {
				name, speaks = name+"/h2", mesh.HTTP2
			}
			says := func(more string) room.Decided {
				d := asks(t, room.AtPort, fmt.Sprintf("{protocol: %s, backendRef: {name: authz, port: 80}%s}", protocol, more))
				d.Referents = []room.Referent{{Cluster: mesh.Asking(name), Reached: name, Authority: "authz.shop.svc:80"}}
				return d
			}
			has := func(ports ...mesh.GuardedPort) {
				commitTo(g.store, g.account, map[string]proto.Message{
					name: envoy.Cluster(mesh.Cluster{Name: name, Endpoints: "service/shop/authz/80", Protocol: speaks}), mesh.Asking(name): envoy.AskingCluster(mesh.Asking(name)),
				}, map[string]proto.Message{
					"service/shop/authz/80": envoy.Endpoints(mesh.Endpoints{Cluster: "service/shop/authz/80", Addresses: at}),
				}, map[string]proto.Message{mesh.Guards: envoy.InboundGuards(mesh.InboundGuards{Ports: ports})})
				g.knows(t)
				g.knows(t)
			}
			pod := askedPod{g, s}
			has(mesh.GuardedPort{Port: int32(g.web), By: []room.Decided{says("")}})
			if loose, probe := status(fmt.Sprintf("http://127.0.0.1:%d/", g.loose)), status(fmt.Sprintf("http://127.0.0.1:%d/live", g.probed)); loose != 200 || probe != 200 {
				t.Errorf("another port: %d, a probe: %d", loose, probe)
			}
			eventually(t, "each thread asks", func() bool {
				for range inFlight {
					if !pod.asks() {
						return false
					}
				}
				return true
			})
			pod.over(t, "the section changes", func() {
				has(mesh.GuardedPort{Port: int32(g.web), By: []room.Decided{says(", timeout: 9s")}})
			})
			pod.over(t, "the section goes", func() { has() })
			if got := status(fmt.Sprintf("http://127.0.0.1:%d/", g.web)); got != 200 {
				t.Errorf("without it: %d", got)
			}
		})
	}
}
