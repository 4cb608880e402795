package envoy_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/authz/als"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/jwttest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/why"
)

// hearing hears what proxies decide.
type hearing struct {
	at     mesh.Endpoint
	files  envoy.Files
	listen func()
	stop   func()

	mu  sync.Mutex
	all []authz.Record
}

func newHearing(t *testing.T) *hearing {
	t.Helper()
	const name, token = mesh.AuthzService + "." + v1alpha1.SystemNamespace + ".svc", "who I am"
	certificate := keyPair(t, name)
	pair, err := tls.X509KeyPair(certificate.Chain, certificate.Key)
	if err != nil {
		t.Fatal(err)
	}
	h := &hearing{at: mesh.Endpoint{Address: "127.0.0.1", Port: porttest.Free(t, 1)[0]}}
	h.files.Token, h.files.Roots = files(t, token, certificate.Chain)
	h.listen = func() {
		server := als.NewServer(als.Options{
			Certificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil },
			Authenticator: tokens{token: {Namespace: "shop", ServiceAccount: "web-weft", Pod: "web-1", PodUID: "1"}},
			Take: func(r authz.Record, _ int) {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.all = append(h.all, r)
			},
		})
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", h.at.Port))
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		h.stop = sync.OnceFunc(func() {
			server.Stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(h.stop)
	}
	h.listen()
	return h
}

// of waits for what was decided on a request.
func (h *hearing) of(t *testing.T, id string) (found authz.Record) {
	t.Helper()
	eventually(t, "it is told of "+id, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		i := slices.IndexFunc(h.all, func(r authz.Record) bool { return r.ID == id })
		if i >= 0 {
			found = h.all[i]
		}
		return i >= 0
	})
	return found
}

func (h *hearing) paths() (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.all {
		out = append(out, r.Input.Request.Path)
	}
	return out
}

// lawOf is by what policies of a Gateway decide.
func lawOf(said ...room.Decided) (l *authz.Law, texts map[string]*v1alpha1.Authorization) {
	l, texts = &authz.Law{TrustDomain: "mesh.test", Gateway: true, Headers: []string{"x-role", "x-token"}, Claims: []string{"sub"}}, map[string]*v1alpha1.Authorization{}
	for _, d := range said {
		says := d.Says.(*v1alpha1.Authorization)
		digest := authz.Digest(says)
		texts[digest] = says
		l.Levels = append(l.Levels, authz.Level{Name: d.Level.Name(), Claims: d.Claims, Policies: []authz.Policy{{Key: d.Policy, Digest: digest, Shadow: d.Shadow}}})
	}
	return l, texts
}

// toldWorld is a Gateway that tells what it decides.
func toldWorld(t *testing.T, h *hearing, mode v1alpha1.DecisionMode) (w world, texts map[string]*v1alpha1.Authorization, a op) {
	t.Helper()
	a = newOP(t, "a")
	demand := demanded(t, room.AtService, map[string]string{"a": jwttest.Set(a.key)}, "providers: ["+provider("a", "https://a", "")+"]")
	rule := ruled(t, room.AtService, `{rules: [{name: r, to: [{methods: [GET], headers: [{name: x-role, values: ["100%"]}]}]}, {name: d, action: Deny, to: [{paths: [{prefix: /rule/secret}]}]}]}`)
	tried := ruled(t, room.AtService, `{rules: [{name: t, to: [{methods: [PUT]}]}]}`)
	tried.Shadow = true
	w = world{decisions: mode, hears: h, endpoints: echoes(t, "a"), hosts: guardedHost(t, map[string][]room.Decided{
		"/rule": {rule}, "/token": {demand}, "/tried": {tried}, "/open": nil,
	})}
	for i := range w.hosts[0].Rules {
		r := &w.hosts[0].Rules[i]
		if len(r.Guards) == 0 {
			continue
		}
		said := slices.DeleteFunc(slices.Clone(r.Guards), func(d room.Decided) bool { return d.Section != "authorization" })
		law, more := lawOf(said...)
		r.Law = law
		if texts == nil {
			texts = map[string]*v1alpha1.Authorization{}
		}
		for digest, says := range more {
			texts[digest] = says
		}
	}
	return w, texts, a
}

// TestDecisionsTold: a real Gateway tells of what it denies, by a rule, for want of one and for want of a token, and of what
// a policy in Shadow would; weft why says of each what was decided. Nothing that may let somebody in is told, and of
// what is let in nothing is.
func TestDecisionsTold(t *testing.T) {
	t.Parallel()
	h := newHearing(t)
	w, texts, _ := toldWorld(t, h, v1alpha1.DecisionsDenied)
	g := w.start(t)
	for _, c := range []struct {
		method, path string
		header       []string
		status       int
		verdict      authz.Verdict
		says         string
	}{
		{"GET", "/rule/secret", []string{"x-role", "100%"}, 403, authz.Denied, "shop/front/d"},
		{"POST", "/rule/a?password=s3cret", []string{"x-role", "100%", "x-token", "s3cret", "cookie", "s3cret"}, 403, authz.Denied, "no rule of MeshPolicy shop/front allows it"},
		{"GET", "/rule/b", []string{"x-role", `"quoted" \ and 100%`}, 403, authz.Denied, "request.headers[x-role] is"},
		{"GET", "/token/a", nil, 401, authz.Denied, "jwt"},
		{"GET", "/tried/a", nil, 200, authz.Allowed, "in Shadow"},
	} {
		response, got := g.send(t, c.method, c.path, c.header...)
		if response.StatusCode != c.status {
			t.Errorf("%s: %d", c.path, response.StatusCode)
		}
		id := response.Header.Get("x-request-id")
		if c.status == 200 {
			id = got.Header.Get("x-request-id")
		}
		r := h.of(t, id)
		if text := fmt.Sprintf("%+v %+v", r, r.Input.Request); strings.Contains(text, "s3cret") {
			t.Errorf("a secret was told: %s", text)
		}
		path, _, _ := strings.Cut(c.path, "?")
		if r.Verdict != c.verdict || r.Input.Request.Path != path || r.Input.Request.Method != c.method || r.Input.Source.IP != "127.0.0.1" || r.Law == nil || r.Proxy.Pod != "web-1" {
			t.Errorf("%s: %+v, %+v", c.path, r, r.Input.Request)
		}
		e, err := why.Recorded(r, texts)
		if err != nil || e.Allowed != (c.status == 200) {
			t.Errorf("%s: %+v, %v", c.path, e, err)
		}
		if text := fmt.Sprintf("%+v", e); !strings.Contains(text, c.says) || strings.Contains(text, "should have been") {
			t.Errorf("%s does not say %q: %s", c.path, c.says, text)
		}
	}
	g.send(t, "GET", "/rule/in", "x-role", "100%")
	g.send(t, "GET", "/open/a")
	response, _ := g.send(t, "POST", "/rule/last")
	h.of(t, response.Header.Get("x-request-id"))
	if told := h.paths(); slices.Contains(told, "/rule/in") || slices.Contains(told, "/open/a") {
		t.Errorf("it tells of what is let in: %v", told)
	}
}

// TestDecisionsAll: where all is wanted, what guards let in is told of too, with the claims that are asked for; what nobody
// guards is not.
func TestDecisionsAll(t *testing.T) {
	t.Parallel()
	h := newHearing(t)
	w, texts, a := toldWorld(t, h, v1alpha1.DecisionsAll)
	g := w.start(t)
	for path, header := range map[string][]string{"/rule/in": {"x-role", "100%"}, "/token/in": {"authorization", "Bearer " + a.token(nil)}} {
		response, got := g.send(t, "GET", path, header...)
		if response.StatusCode != 200 {
			t.Fatalf("%s: %d", path, response.StatusCode)
		}
		r := h.of(t, got.Header.Get("x-request-id"))
		if e, err := why.Recorded(r, texts); err != nil || !e.Allowed || r.Verdict != authz.Allowed || r.Law == nil {
			t.Errorf("%s: %+v, %+v, %v", path, r, e, err)
		}
	}
	g.send(t, "GET", "/open/a")
	response, _ := g.send(t, "POST", "/rule/last")
	h.of(t, response.Header.Get("x-request-id"))
	if told := h.paths(); slices.Contains(told, "/open/a") {
		t.Errorf("it tells of what nobody guards: %v", told)
	}
}

// TestDecisionsAway: while nobody hears, requests are answered as ever, and once somebody does again it is told of what is
// decided then.
func TestDecisionsAway(t *testing.T) {
	t.Parallel()
	h := newHearing(t)
	w, _, _ := toldWorld(t, h, v1alpha1.DecisionsAll)
	g := w.start(t)
	response, _ := g.send(t, "POST", "/rule/first")
	h.of(t, response.Header.Get("x-request-id"))
	h.stop()
	for i := range 200 {
		if response, _ := g.send(t, "GET", fmt.Sprint("/rule/", i), "x-role", "100%"); response.StatusCode != 200 {
			t.Fatalf("while nobody hears: %d", response.StatusCode)
		}
	}
	h.listen()
	eventually(t, "it is heard again", func() bool {
		response, _ := g.send(t, "POST", "/rule/again")
		id := response.Header.Get("x-request-id")
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.ContainsFunc(h.all, func(r authz.Record) bool { return r.ID == id }) || slices.ContainsFunc(h.all, func(r authz.Record) bool { return r.Input.Request.Path == "/rule/again" })
	})
}
