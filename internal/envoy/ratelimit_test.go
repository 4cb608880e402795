package envoy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/ratelimit"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/xds"
)

// limits is a Gateway at which each policy is about the virtual hosts <policy>.test and <policy>.example.
type limits struct {
	*gateway
	store *xds.Store
	port  uint32
	said  map[string]room.Decided
}

const limitedRoutes, limitedBackend = "gateway/shop/web/80", "service/shop/cart/80"

// limit reads spec.rateLimit.local as people write it.
func limit(t testing.TB, policy, text string) room.Decided {
	t.Helper()
	return limited(policy, &v1alpha1.RateLimit{Local: requestLimits(t, text)})
}

func limited(policy string, says *v1alpha1.RateLimit) room.Decided {
	return room.Decided{Section: ratelimit.Section.Name, Policy: policy, Says: says}
}

func requestLimits(t testing.TB, text string) *v1alpha1.RequestLimits {
	t.Helper()
	says := &v1alpha1.RequestLimits{}
	if err := yaml.UnmarshalStrict([]byte(text), says); err != nil {
		t.Fatalf("limits: %v", err)
	}
	return says
}

func startLimits(t *testing.T, said map[string]string) limits {
	t.Helper()
	p, store, ports := served(t, 4)
	l := limits{store: store, said: map[string]room.Decided{}, port: ports[3]}
	commit(l.store, map[string]proto.Message{
		limitedRoutes:  l.listener(ratelimit.Section.Name),
		limitedBackend: envoy.Cluster(mesh.Cluster{Name: limitedBackend, Protocol: mesh.HTTP1}),
	}, map[string]proto.Message{
		limitedRoutes:  envoy.RouteConfiguration(limitedRoutes),
		limitedBackend: envoy.Endpoints(mesh.Endpoints{Cluster: limitedBackend, Addresses: echoes(t, limitedBackend)[limitedBackend]}),
	}, l.host(t, "", "free.test", ""))
	for name, text := range said {
		l.say(t, name, text)
	}
	l.gateway = run(t, bootstrap(t, p), 0)
	l.url, l.stats = fmt.Sprintf("http://127.0.0.1:%d", ports[3]), fmt.Sprintf("http://127.0.0.1:%d", ports[2])
	eventually(t, "the proxy is ready", func() bool { return status(fmt.Sprintf("http://127.0.0.1:%d", ports[1])+envoy.ReadyPath) == 200 })
	return l
}

// listener has the filters that Routes share of some sections.
func (l limits) listener(shared ...string) proto.Message {
	return envoy.Listener(mesh.Listener{Name: limitedRoutes, Port: l.port, Chains: []mesh.Chain{{Name: "http", Routes: limitedRoutes, Shared: shared}}})
}

// say has a policy say something, which changes the filter and its own virtual hosts.
func (l limits) say(t *testing.T, policy, text string) {
	t.Helper()
	l.said[policy] = limit(t, "shop/"+policy, text)
	l.filter()
	commit(l.store, l.host(t, policy, policy+".test", ""), l.host(t, policy, policy+".example", ""))
}

// filter commits the filter alone.
func (l limits) filter() {
	shared := mesh.Shared{Name: mesh.SharedName(ratelimit.Section.Name, limitedRoutes), Section: ratelimit.Section.Name, Port: room.Port{Gateway: true}}
	for _, d := range l.said {
		shared.Says = append(shared.Says, d)
	}
	commit(l.store, map[string]proto.Message{shared.Name: envoy.Shared(shared)})
}

// host has four Routes: two matches of one rule, another rule, and a redirect; comes is a header that answers have.
func (l limits) host(t *testing.T, policy, domain, comes string) map[string]proto.Message {
	t.Helper()
	filters := ""
	if comes != "" {
		filters = fmt.Sprintf("filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: comes, value: %s}]}}], ", comes)
	}
	v := virtualHost(t, limitedRoutes, domain, fmt.Sprintf(`
- {%smatches: [{path: {value: /a}}, {path: {value: /b}}], backendRefs: [{name: %s}]}
- {%sbackendRefs: [{name: %s}]}
- {matches: [{path: {value: /moved}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: elsewhere.test}}]}
`, filters, limitedBackend, filters, limitedBackend))
	for i := range v.Rules {
		if d, has := l.said[policy]; has {
			v.Rules[i].Policies = []room.Decided{d}
		}
	}
	return map[string]proto.Message{v.Name(): envoy.VirtualHost(v)}
}

// asks sends requests, each "method host/path [header: value]", and tells the codes.
func (l limits) asks(t *testing.T, requests ...string) (codes []int) {
	t.Helper()
	for _, r := range requests {
		codes = append(codes, l.ask(t, r).StatusCode)
	}
	return codes
}

func (l limits) ask(t *testing.T, request string) *http.Response {
	t.Helper()
	at, header, _ := strings.Cut(request, " [")
	method, at, _ := strings.Cut(at, " ")
	host, path, _ := strings.Cut(at, "/")
	headers := []string{"Host", host}
	if name, value, has := strings.Cut(strings.TrimSuffix(header, "]"), ": "); has {
		headers = append(headers, name, value)
	}
	response, _ := l.send(t, method, "/"+path, headers...)
	return response
}

// TestRateLimits: what a limit counts together, what apart, and what not at all.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	l := startLimits(t, map[string]string{
		"all":    `{limits: [{requests: 3, per: 1h}]}`,
		"burst":  `{limits: [{requests: 1, per: 1h, burst: 2}]}`,
		"user":   `{limits: [{requests: 1, per: 2h, by: [{type: Header, header: X-User}]}, {requests: 4, per: 1h}]}`,
		"twice":  `{limits: [{requests: 1, per: 1h, by: [{type: Header, header: X-User}]}]}`,
		"tier":   `{limits: [{requests: 1, per: 1h, by: [{type: Header, header: X-Tier, value: free}]}]}`,
		"path":   `{limits: [{requests: 1, per: 1h, by: [{type: Path}]}]}`,
		"method": `{limits: [{requests: 1, per: 1h, by: [{type: Method}, {type: SourceIP}]}]}`,
		"odd":    `{limits: [{requests: 1, per: 1h1s500ms}, {requests: 5, per: 2s}]}`,
		"moved":  `{limits: [{requests: 1, per: 1h}]}`,
		"silent": `{headers: None, limits: [{requests: 1, per: 1h}]}`,
		"caller": `{limits: [{requests: 1, per: 1h, by: [{type: Caller}]}]}`,
	})
	for name, c := range map[string]struct {
		asks []string
		want []int
	}{
		"all routes and hosts of a policy together": {
			[]string{"GET all.test/a", "GET all.example/b", "GET all.test/", "GET all.test/a", "GET all.example/"}, []int{200, 200, 200, 429, 429}},
		"what has no policy":          {[]string{"GET free.test/a", "GET free.test/a", "GET free.test/a", "GET free.test/a"}, []int{200, 200, 200, 200}},
		"a burst":                     {[]string{"GET burst.test/", "GET burst.test/", "GET burst.test/"}, []int{200, 200, 429}},
		"each value, and all of all":  {[]string{"GET user.test/ [x-user: a]", "GET user.test/ [x-user: a]", "GET user.test/ [x-user: b]", "GET user.test/", "GET user.test/", "GET user.test/ [x-user: c]"}, []int{200, 429, 200, 200, 200, 429}},
		"one value only":              {[]string{"GET tier.test/ [x-tier: free]", "GET tier.test/ [x-tier: free]", "GET tier.test/ [x-tier: gold]", "GET tier.test/ [x-tier: gold]", "GET tier.test/"}, []int{200, 429, 200, 200, 200}},
		"each path, whatever it asks": {[]string{"GET path.test/x?1", "GET path.test/x?2", "GET path.test/y"}, []int{200, 429, 200}},
		"each method of an address":   {[]string{"GET method.test/", "POST method.test/", "GET method.test/x", "POST method.test/"}, []int{200, 200, 429, 429}},
		"redirects":                   {[]string{"GET moved.test/moved", "GET moved.test/moved"}, []int{302, 429}},
		"odd times":                   {[]string{"GET odd.test/", "GET odd.test/"}, []int{200, 429}},
		"no certificate":              {[]string{"GET caller.test/", "GET caller.test/"}, []int{200, 429}},
	} {
		if got := l.asks(t, c.asks...); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	for n, want := range []int{200, 429} {
		if response, _ := l.send(t, "GET", "/", "Host", "twice.test", "x-user", "first", "x-user", []string{"1", "2"}[n]); response.StatusCode != want {
			t.Errorf("request %d with a header twice: %d, want %d", n, response.StatusCode, want)
		}
	}
	l.tells(t)
	eventually(t, "what is turned away is counted by policy", func() bool {
		return strings.Contains(l.scrape(t), `weft_rate_limited_total{reporter="source",policy="shop/all"} 4`)
	})
}

// tells looks at what answers say of limits.
func (l limits) tells(t *testing.T) {
	t.Helper()
	const name, left, more = "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"
	refused := l.ask(t, "GET all.test/")
	for h, want := range map[string]string{name: "3", left: "0", "Retry-After": "1200", more: "1200"} {
		if got := refused.Header.Get(h); got != want && !(want == "1200" && got == "1199") {
			t.Errorf("a request turned away has %s %q, want %q", h, got, want)
		}
	}
	if passed := l.ask(t, "GET odd.example/"); passed.StatusCode != 429 {
		t.Errorf("of the other hostname: %d", passed.StatusCode)
	}
	free := l.ask(t, "GET free.test/")
	if l.asks(t, "GET silent.test/"); free.Header.Get(name) != "" {
		t.Errorf("what has no limit tells of one: %v", free.Header)
	}
	if silent := l.ask(t, "GET silent.test/"); silent.StatusCode != 429 || silent.Header.Get(name) != "" || silent.Header.Get("Retry-After") == "" {
		t.Errorf("without headers: %d %v", silent.StatusCode, silent.Header)
	}
	if call := l.ask(t, "POST all.test/ [content-type: application/grpc]"); call.StatusCode != 200 || call.Header.Get("grpc-status") != "8" {
		t.Errorf("gRPC: %d %v", call.StatusCode, call.Header)
	}
}

func (l limits) scrape(t *testing.T) string {
	t.Helper()
	return string(fetch(t, l.stats+"/stats/prometheus", "identity"))
}

// TestRateLimitsOutliveRoutes: what a policy has counted stays counted when routes change, its own too. When
// the limits of a port change, their buckets are full again.
func TestRateLimitsOutliveRoutes(t *testing.T) {
	t.Parallel()
	l := startLimits(t, map[string]string{"a": `{limits: [{requests: 2, per: 1h}]}`, "b": `{limits: [{requests: 1, per: 1h}]}`})
	l.asks(t, "GET a.test/", "GET a.example/")
	commit(l.store, l.host(t, "a", "a.test", "anew"))
	commit(l.store, l.host(t, "", "free.test", "anew")) // which comes after that
	eventually(t, "routes are served anew", func() bool { return l.ask(t, "GET free.test/").Header.Get("comes") == "anew" })
	if got := l.asks(t, "GET a.test/", "GET a.example/"); got[0] != 429 || got[1] != 429 {
		t.Errorf("after routes changed: %v", got)
	}
	l.said["b"] = limit(t, "shop/b", `{limits: [{requests: 5, per: 1h}]}`)
	l.filter()
	eventually(t, "the buckets are new", func() bool { return l.ask(t, "GET a.test/").StatusCode == 200 })
	if got := l.ask(t, "GET b.test/").Header.Get("X-Ratelimit-Limit"); got != "5" {
		t.Errorf("the limit is %s", got)
	}
}

// TestRateLimitByCaller: at a Gateway that asks for certificates each client's first URI name, or without one
// its subject, has a bucket, whatever connection it comes by; those who show none share one.
func TestRateLimitByCaller(t *testing.T) {
	t.Parallel()
	served := keyPair(t, "shop.test")
	trusted := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})
	said := limit(t, "shop/callers", `{limits: [{requests: 2, per: 1h, by: [{type: Caller}]}]}`)
	hosts := host(t, `[{backendRefs: [{name: a}]}]`)
	hosts[0].Rules[0].Policies = []room.Decided{said}
	g := world{secret: &served, clients: &mesh.ClientTLS{Authorities: trusted}, limits: []room.Decided{said}, endpoints: echoes(t, "a"), hosts: hosts}.start(t)
	of := func(template *x509.Certificate) tls.Certificate {
		pair, err := tls.X509KeyPair(sign(t, template))
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	nameless := certificate("spiffe://shop.test/x")
	nameless.URIs, nameless.Subject = nil, pkix.Name{CommonName: "nameless"}
	for name, c := range map[string]tls.Certificate{"a": of(certificate("spiffe://shop.test/a")), "b": of(certificate("spiffe://shop.test/b")), "nameless": of(nameless), "none": {}} {
		for n := range 3 {
			want := 200
			if n == 2 {
				want = 429
			}
			if got, _ := g.shown(t, c, nil); got != want {
				t.Errorf("request %d of %s: %d, want %d", n, name, got, want)
			}
		}
	}
}

// TestRateLimitsComeAndGo: while the first limit of a port comes, changes and goes again with its filter, no
// other request fails, and what is limited is turned away as long as it is.
func TestRateLimitsComeAndGo(t *testing.T) {
	t.Parallel()
	l := startLimits(t, map[string]string{"a": `{limits: [{requests: 1, per: 1h}]}`})
	ended := l.keepAskingAt(t, "free.test")
	for n := range 10 {
		before := ended()
		if n%2 == 0 {
			commit(l.store, map[string]proto.Message{limitedRoutes: l.listener(), mesh.SharedName(ratelimit.Section.Name, limitedRoutes): (*corev3.TypedExtensionConfig)(nil)})
			eventually(t, "the filter is gone", func() bool { return l.asks(t, "GET a.test/", "GET a.test/", "GET a.test/")[2] == 200 })
		} else {
			commit(l.store, map[string]proto.Message{limitedRoutes: l.listener(ratelimit.Section.Name)})
			l.filter()
			eventually(t, "the filter is there", func() bool { return l.ask(t, "GET a.test/").StatusCode == 429 })
		}
		eventually(t, "requests end", func() bool { return ended() >= before+20 })
	}
}

// keepAskingAt sends requests over connections that are kept, all of which are to be answered 200.
func (g *gateway) keepAskingAt(t *testing.T, host string) (ended func() int64) {
	var count atomic.Int64
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 {
		all.Go(func() {
			own := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
			defer own.CloseIdleConnections()
			for ctx.Err() == nil {
				request, err := http.NewRequest("POST", g.url, strings.NewReader("x"))
				if err != nil {
					t.Error(err)
					return
				}
				request.Host = host
				response, err := own.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				if response.Body.Close(); response.StatusCode != 200 {
					t.Errorf("answered %d", response.StatusCode)
				}
				count.Add(1)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return count.Load
}
