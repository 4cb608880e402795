package envoy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/ratelimit"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/quota"
	"github.com/weft-mesh/weft/internal/quota/rls"
	"github.com/weft-mesh/weft/internal/xds"
)

// counts is a quota service.
type counts struct {
	*quota.Table
	owner  mesh.Endpoint
	files  envoy.Files
	listen func()
	stop   func()
}

// tokens are whose tokens are known.
type tokens map[string]xds.Identity

func (k tokens) Authenticate(_ context.Context, token string) (xds.Identity, error) {
	who, known := k[token]
	if !known {
		return who, errors.New("unknown token")
	}
	who.Expires = time.Now().Add(time.Hour)
	return who, nil
}

// quotaService is one that counts what policies say at the one port of a gateway.
func quotaService(t *testing.T, said ...room.Decided) *counts {
	t.Helper()
	const name, token = "weft-xds.weft-system.svc", "who I am"
	certificate := keyPair(t, name)
	pair, err := tls.X509KeyPair(certificate.Chain, certificate.Key)
	if err != nil {
		t.Fatal(err)
	}
	c := &counts{owner: mesh.Endpoint{Address: "127.0.0.1", Port: porttest.Free(t, 1)[0]}}
	c.files.Token, c.files.Roots = files(t, token, certificate.Chain)
	c.listen = func() {
		c.Table = quota.New()
		c.say(said...)
		server := rls.NewServer(rls.Options{
			Table:         c.Table,
			Certificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil },
			Authenticator: tokens{token: {Namespace: "shop", ServiceAccount: "web", Pod: "web-1"}},
			Asks:          func(xds.Identity) (quota.Who, bool) { return quota.Who{Scopes: []string{"shop/web"}}, true },
		})
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", c.owner.Port))
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		c.stop = sync.OnceFunc(func() {
			server.Stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(c.stop)
	}
	c.listen()
	return c
}

// say has the service know what policies say.
func (c *counts) say(said ...room.Decided) {
	var policies []string
	for _, d := range said {
		policies = append(policies, d.Policy)
		c.SetPolicy(d.Policy, ratelimit.Section.Quotas(d.Says.(*v1alpha1.RateLimit)))
	}
	c.SetPlace("routes", policies)
	c.See("routes", "shop/web", true)
}

// global reads spec.rateLimit.global as people write it.
func global(t testing.TB, policy, text string) room.Decided {
	t.Helper()
	return limited(policy, &v1alpha1.RateLimit{Global: requestLimits(t, text)})
}

// asking is a gateway that asks a service about one policy's limits.
func asking(t *testing.T, c *counts, said room.Decided) *gateway {
	t.Helper()
	hosts := host(t, `[{matches: [{path: {value: /free}}], backendRefs: [{name: a}]}, {backendRefs: [{name: a}]}]`)
	hosts[0].Rules[1].Policies = []room.Decided{said}
	return world{limits: []room.Decided{said}, counts: c, endpoints: echoes(t, "a"), hosts: hosts}.start(t)
}

// TestGlobalRateLimitTogether: proxies share buckets, and each is told of the nearest limit what there is to
// tell. Without the service each has its own, as large.
func TestGlobalRateLimitTogether(t *testing.T) {
	t.Parallel()
	said := global(t, "shop/all", `{limits: [{requests: 8, per: 1h}, {requests: 2, per: 1h, by: [{type: Header, header: X-User}]}]}`)
	c := quotaService(t, said)
	one, two, alone := asking(t, c, said), asking(t, c, said), asking(t, c, said)
	ask := func(g *gateway, header ...string) *http.Response {
		response, _ := g.send(t, "GET", "/", header...)
		return response
	}
	for _, g := range []*gateway{one, two} { // until the service knows whose their tokens are
		eventually(t, "the service is asked", func() bool { return ask(g, "x-user", "warm").Header.Get("X-Ratelimit-Remaining") != "" })
	}
	c.SetPolicy("shop/all", nil)
	c.say(said) // with full buckets
	for i, want := range []struct {
		at     *gateway
		user   string
		status int
		left   string
	}{
		{one, "a", 200, "1"}, {two, "a", 200, "0"}, {one, "a", 429, "0"}, {one, "b", 200, "1"}, {two, "c", 200, "1"}, {one, "d", 200, "1"},
		{two, "e", 200, "1"}, {one, "f", 200, "1"}, {two, "g", 200, "0"}, {two, "h", 429, "0"},
	} {
		r := ask(want.at, "x-user", want.user)
		if got := r.Header.Values("X-Ratelimit-Remaining"); r.StatusCode != want.status || len(got) != 1 || got[0] != want.left {
			t.Errorf("request %d: %d %v, want %d and %s left", i, r.StatusCode, r.Header, want.status, want.left)
		}
		if r.StatusCode == 429 && r.Header.Get("Retry-After") == "" {
			t.Errorf("request %d: %v", i, r.Header)
		}
	}
	if r := ask(one, "content-type", "application/grpc"); r.StatusCode != 200 || r.Header.Get("grpc-status") != "8" {
		t.Errorf("gRPC: %d %v", r.StatusCode, r.Header)
	}
	if r, _ := one.send(t, "GET", "/free"); r.StatusCode != 200 || r.Header.Get("X-Ratelimit-Limit") != "" {
		t.Errorf("what has no limit: %d %v", r.StatusCode, r.Header)
	}
	eventually(t, "what is turned away is counted by policy", func() bool {
		return strings.Contains(string(fetch(t, one.stats+"/stats/prometheus", "identity")), `weft_rate_limited_total{reporter="source",policy="shop/all"} 2`)
	})
	c.stop()
	for i, want := range []int{200, 200, 429} { // the last by its own bucket
		if r := ask(alone, "x-user", "a"); r.StatusCode != want || (want == 429) != (r.Header.Get("Retry-After") != "") {
			t.Errorf("request %d without the service: %d %v, want %d", i, r.StatusCode, r.Header, want)
		}
	}
	eventually(t, "what goes on without an answer is counted", func() bool {
		return strings.Contains(string(fetch(t, alone.stats+"/stats/prometheus", "identity")), `envoy_cluster_ratelimit_failure_mode_allowed{envoy_cluster_name="a"} 2`)
	})
}

// crowd is ten proxies, of which three get nearly all requests.
type crowd struct {
	proxies        []*gateway
	passed, turned atomic.Int64
}

// ask has all proxies asked until the test ends.
func (c *crowd) ask(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for i, g := range c.proxies {
		every := time.Second / 2
		if i < 3 {
			every = time.Second / 30
		}
		asking.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for ctx.Err() == nil {
				<-tick.C
				switch got := status(g.url); got {
				case 200:
					c.passed.Add(1)
				case 429:
					c.turned.Add(1)
				default:
					t.Errorf("answered %d", got)
				}
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		asking.Wait()
	})
}

// rate is how many pass in a second, and how many of these without an answer of the service, for want of time:
// the machine may be busy.
func (c *crowd) rate(t *testing.T, during time.Duration) (passed, unanswered float64) {
	t.Helper()
	from, alone, begun := c.passed.Load(), c.unanswered(t), time.Now()
	<-time.After(during)
	seconds := time.Since(begun).Seconds()
	return float64(c.passed.Load()-from) / seconds, (c.unanswered(t) - alone) / seconds
}

func (c *crowd) unanswered(t *testing.T) (sum float64) {
	t.Helper()
	for _, g := range c.proxies {
		found := wentOn.FindSubmatch(fetch(t, g.stats+"/stats/prometheus", "identity"))
		if found == nil {
			continue
		}
		n, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			t.Error(err)
		}
		sum += n
	}
	return sum
}

var wentOn = regexp.MustCompile(`envoy_cluster_ratelimit_failure_mode_allowed\{[^}]*\} (\d+)`)

// TestGlobalRateLimit: proxies let through together what the limit says. While the service is away no request fails
// but by the limit, which then each holds for itself; once it is back, it holds for all again.
func TestGlobalRateLimit(t *testing.T) {
	t.Parallel()
	const limit = 40
	said := global(t, "shop/all", fmt.Sprintf(`{limits: [{requests: %d, burst: 10}]}`, limit))
	c, all := quotaService(t, said), &crowd{}
	for range 10 {
		all.proxies = append(all.proxies, asking(t, c, said))
	}
	all.ask(t)
	holds := func(during time.Duration) {
		t.Helper()
		turned := all.turned.Load()
		passed, alone := all.rate(t, during)
		t.Logf("%.1f per second passed, %.1f of these without an answer; %d were turned away", passed, alone, all.turned.Load()-turned)
		if passed-alone > 1.05*limit || passed < 0.95*limit && float64(all.turned.Load()-turned) > limit*during.Seconds()/2 {
			t.Errorf("want %d", limit)
		}
	}
	all.rate(t, 2*time.Second) // the burst
	holds(10 * time.Second)
	c.stop()
	if passed, alone := all.rate(t, 3*time.Second); alone < 0.9*passed {
		t.Errorf("without the service %.1f per second pass, %.1f of these without an answer", passed, alone)
	}
	c.listen()
	eventually(t, "the service is asked again", func() bool {
		passed, alone := all.rate(t, time.Second)
		return alone < 0.1*passed
	})
	holds(5 * time.Second)
}

// TestGlobalRateLimitsComeAndGo: while the first global limit of a port comes with its filters and its cluster, the
// service moves, the numbers change and all goes again, no request fails but by the limit.
func TestGlobalRateLimitsComeAndGo(t *testing.T) {
	t.Parallel()
	said := global(t, "shop/a", `{limits: [{requests: 1, per: 1h}]}`)
	one, other := quotaService(t, said), quotaService(t, said)
	for _, c := range []*counts{one, other} {
		c.SetPlace(limitedRoutes, []string{said.Policy})
		c.See(limitedRoutes, "shop/web", true)
	}
	l := startLimits(t, map[string]string{"b": `{limits: [{requests: 1, per: 1h}]}`})
	l.said["a"] = said
	commit(l.store, l.host(t, "a", "a.test", ""))
	ended := l.keepAskingAt(t, "free.test")
	for n := range 8 {
		before, c := ended(), []*counts{one, other}[n/2%2]
		if n%2 == 0 {
			c.SetPolicy(said.Policy, nil)
			c.say(said) // with a full bucket
			l.counted(c)
			eventually(t, "the service is asked", func() bool {
				return l.ask(t, "GET a.test/").StatusCode == 429 && c.Decide(time.Hour, limitedRoutes, quota.Who{Scopes: []string{"shop/web"}}, askedOf(said)).Refused
			})
		} else {
			commit(l.store, map[string]proto.Message{limitedRoutes: l.listener(), mesh.SharedName(ratelimit.Section.Name, limitedRoutes): (*corev3.TypedExtensionConfig)(nil),
				mesh.QuotaName(limitedRoutes): (*corev3.TypedExtensionConfig)(nil)})
			eventually(t, "nothing is limited", func() bool { return l.asks(t, "GET a.test/", "GET a.test/", "GET a.test/")[2] == 200 })
		}
		eventually(t, "requests end", func() bool { return ended() >= before+20 })
	}
}

// counted has the port ask a service.
func (l limits) counted(c *counts) {
	at := mesh.Shared{Section: ratelimit.Section.Name, Port: room.Port{Gateway: true, Routes: limitedRoutes}, Says: []room.Decided{l.said["a"]}}
	local, asking := at, at
	local.Name, asking.Name = mesh.SharedName(ratelimit.Section.Name, limitedRoutes), mesh.QuotaName(limitedRoutes)
	commit(l.store, map[string]proto.Message{
		ratelimit.Cluster: envoy.QuotaCluster(c.owner, c.files),
		limitedRoutes: envoy.Listener(mesh.Listener{Name: limitedRoutes, Port: l.port, Chains: []mesh.Chain{
			{Name: "http", Routes: limitedRoutes, Shared: []string{ratelimit.Section.Name}, Counted: true}}}),
	}, map[string]proto.Message{local.Name: envoy.Shared(local), asking.Name: envoy.Quota(asking)})
}

// askedOf is what a proxy asks about a policy's only limit.
func askedOf(d room.Decided) []quota.Asked {
	return []quota.Asked{{Policy: d.Policy, ID: ratelimit.Section.Quotas(d.Says.(*v1alpha1.RateLimit))[0].ID}}
}

// TestQuotaResources: what proxies are told, which Envoy takes.
func TestQuotaResources(t *testing.T) {
	said := mesh.Shared{Name: mesh.QuotaName(limitedRoutes), Section: ratelimit.Section.Name, Port: room.Port{Gateway: true, Routes: limitedRoutes}, Says: []room.Decided{
		global(t, "shop/all", `{limits: [{requests: 100, per: 1m, burst: 20}, {requests: 5, by: [{type: Header, header: X-User}, {type: SourceIP}, {type: Caller}, {type: Path}]}]}`),
		limit(t, "shop/local", `{limits: [{requests: 1}]}`),
	}}
	owner := mesh.Endpoint{Address: "10.0.0.1", Port: 15011}
	golden(t, "cluster-quota", envoy.QuotaCluster(owner, envoy.GatewayFiles))
	golden(t, "cluster-quota-nobody", envoy.QuotaCluster(mesh.Endpoint{}, envoy.SidecarFiles))
	resources := map[string]proto.Message{
		"quota":      envoy.Quota(said),
		"quota-none": envoy.Quota(mesh.Shared{Name: mesh.QuotaName(limitedRoutes), Section: ratelimit.Section.Name}),
		"listener-quota": envoy.Listener(mesh.Listener{Name: limitedRoutes, Port: 80,
			Chains: []mesh.Chain{{Name: "http", Routes: limitedRoutes, Shared: []string{ratelimit.Section.Name}, Counted: true}}}),
		"outbound-quota": envoy.ServiceListener(mesh.ServiceListener{Name: "outbound/shop/cart/80", Addresses: []string{"10.96.0.1"}, Port: 80, Service: "shop/cart",
			Protocol: mesh.HTTP1, Shared: []string{ratelimit.Section.Name}, Counted: true}),
	}
	var here envoy.Files
	here.Token, here.Roots = files(t, "token", keyPair(t, "weft").Chain)
	all := []proto.Message{envoy.QuotaCluster(owner, here)}
	for name, m := range resources {
		golden(t, name, m)
		all = append(all, m)
	}
	envoytest.Validate(t, all...)
}
