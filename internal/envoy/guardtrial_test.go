package envoy_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/jwttest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/sidecar"
)

func inShadow(d room.Decided, policy, claims string) room.Decided {
	d.Policy, d.Claims, d.Shadow = policy, claims, true
	return d
}

// triedRequest is a request to a Gateway, and what becomes of it.
type triedRequest struct {
	path, a, b   string // the tokens of two providers
	status       int
	user         string // as the app is told
	policy, rule string // that would refuse; "": none
}

// triedHosts are paths about which policies are that are enforced or in Shadow.
func triedHosts(t *testing.T, sets map[string]string) []mesh.VirtualHost {
	t.Helper()
	ofA := "providers: [" + provider("a", "https://a", "forward: false, audiences: [shop], claims: [{path: [tenant], values: [ours]}], claimHeaders: [{path: [sub], header: x-user}, {path: [tenant], header: x-tenant}]") + "]"
	ofB := "providers: [" + provider("b", "https://b", "from: [{header: {name: x-b}}], claimHeaders: [{path: [sub], header: x-user}]") + "]"
	key := room.ShadowClaims(room.AtService)
	tokens := inShadow(demanded(t, room.AtService, sets, ofA), "shop/tokens", key)
	ann := `rules: [{name: ann, when: [{attribute: jwt.subject, operator: In, values: [ann]}]}, {name: eve, action: Deny, when: [{attribute: jwt.subject, operator: In, values: [eve]}]}]`
	open := ruled(t, room.AtService, ann)
	open.Claims = "" // nothing demands a token
	return guardedHost(t, map[string][]room.Decided{
		"/tokens":   {tokens},
		"/beside":   {demanded(t, room.AtMesh, sets, ofB), tokens},
		"/same":     {demanded(t, room.AtService, sets, ofB), tokens},
		"/keyless":  {inShadow(demanded(t, room.AtService, nil, ofA), "shop/keyless", key)},
		"/enforced": {tokens, open},
		"/both":     {tokens, inShadow(ruled(t, room.AtService, ann), "shop/front", key)},
		"/callers":  {inShadow(ruled(t, room.AtRoute, `rules: [{name: r, to: [{methods: [GET]}]}]`), "shop/front", "")},
	})
}

// triedRequests are all that may be asked of them.
func triedRequests(a, b op) []triedRequest {
	with := func(more jwttest.Claims) string { return a.token(jwttest.Claims{"tenant": "ours"}.With(more)) }
	good, bob := with(nil), b.token(jwttest.Claims{"sub": "bob"})
	return []triedRequest{
		{"/tokens", good, "", 200, "ann", "", ""},
		{"/tokens", "x", "", 200, "", "shop/tokens", "token"},
		{"/tokens", "", "", 200, "", "shop/tokens", "token"},
		{"/tokens", with(jwttest.Claims{"exp": time.Now().Unix() - 120}), "", 200, "", "shop/tokens", "token"},
		{"/tokens", cut(a.key.Headed(map[string]any{"alg": "none"}, a.says)), "", 200, "", "shop/tokens", "token"},
		{"/tokens", with(jwttest.Claims{"tenant": "theirs"}), "", 200, "", "shop/tokens", "claims"},
		{"/tokens", with(jwttest.Claims{"aud": "x"}), "", 200, "", "shop/tokens", "token"},
		{"/beside", good, "", 401, "", "", ""},
		{"/beside", "x", bob, 200, "bob", "shop/tokens", "token"},
		{"/beside", good, bob, 200, "bob", "", ""},
		{"/same", good, "", 401, "", "", ""},
		{"/same", "x", bob, 200, "bob", "", ""},
		{"/keyless", good, "", 200, "", "shop/keyless", "keys"},
		{"/enforced", good, "", 403, "", "", ""},
		{"/enforced", "x", "", 403, "", "", ""},
		{"/both", good, "", 200, "ann", "", ""},
		{"/both", with(jwttest.Claims{"sub": "eve"}), "", 200, "eve", "shop/front", "eve"},
		{"/both", "x", "", 200, "", "shop/tokens", "token"},
		{"/callers", "x", "", 200, "spoofed", "", ""},
	}
}

// TestShadowAtGateways: whatever policies in Shadow say of tokens and of who may call, requests get through as without
// them, and the log and the metrics of the Gateway say what would be refused, by which policy and why. Headers of claims
// are filled by valid tokens alone. Nothing that is enforced goes by claims of tokens that are only tried out.
func TestShadowAtGateways(t *testing.T) {
	t.Parallel()
	a, b := newOP(t, "a"), newOP(t, "b")
	g := world{endpoints: echoes(t, "a"), hosts: triedHosts(t, map[string]string{"a": jwttest.Set(a.key), "b": jwttest.Set(b.key)})}.start(t)
	refused := map[string]int{}
	for i, c := range triedRequests(a, b) {
		path := fmt.Sprint(c.path, "/", i)
		response, got := g.send(t, "GET", path, "Authorization", "Bearer "+c.a, "x-b", c.b, "x-user", "spoofed")
		if user := got.Header.Get("x-user"); response.StatusCode != c.status || user != c.user || len(got.Header.Values("x-user")) > 1 {
			t.Errorf("%s: %d, and the app is told of %q: %+v", path, response.StatusCode, user, c)
		}
		if token := got.Header.Get("Authorization"); c.status == 200 && token != "Bearer "+c.a && token+" " != "Bearer "+c.a {
			t.Errorf("%s: the token is %q at the app", path, token)
		}
		if c.policy != "" {
			refused[c.policy]++
			eventually(t, fmt.Sprintf("the log says why of %+v", c), func() bool {
				return tells(g.log.String(), map[string]any{"path": path, "shadow_policy": c.policy, "shadow_rule": c.rule, "shadow_result": "denied"})
			})
		} else if tells(g.log.String(), map[string]any{"path": path, "shadow_result": "denied"}) {
			t.Errorf("%s would be refused, says the log", path)
		}
	}
	if response, _ := g.send(t, "POST", "/callers/x", "Authorization", "x"); response.StatusCode != 200 {
		t.Errorf("POST: %d", response.StatusCode)
	}
	refused["shop/front"]++
	for policy, n := range refused {
		eventually(t, fmt.Sprintf("%d are counted of %s", n, policy), func() bool { return shadowCount(g.admin, "denied", fmt.Sprintf("policy=%q", policy)) == n })
	}
	eventually(t, "what came of a backend is", func() bool {
		return shadowCount(g.admin, "denied", `upstream_cluster="`) == shadowCount(g.admin, "denied", "")
	})
	if n := shadowCount(g.admin, "allowed", `section="jwt"`) + shadowCount(g.admin, "allowed", `section="authorization"`); n != 5 || shadowCount(g.admin, "allowed", "") != n {
		t.Errorf("%d are counted as let in: %v", n, shadowSeries(g.admin))
	}
}

// wouldBe are the connections that policies would refuse at ports.
func wouldBe(t *testing.T, ports []int32, said ...room.Decided) mesh.TriedPorts {
	t.Helper()
	tried := said[slices.IndexFunc(said, func(d room.Decided) bool { return d.Shadow })]
	return mesh.TriedPorts{Ports: ports, Section: tried.Section, Policy: tried.Policy, Would: authorization.Section.Room().TryConnect(said)}
}

// TestShadowOfBytes: connections without HTTP get through as without policies in Shadow, and are counted, and logged
// when they end, as what these make of who connects.
func TestShadowOfBytes(t *testing.T) {
	t.Parallel()
	g := startGuard(t)
	office := "spiffe://mesh.test/ns/office/sa/web"
	friends := ruling(t, room.AtService, "shop/friends-tried", `{rules: [{name: friends, from: [{serviceAccount: {namespace: shop, name: web}}, {namespace: office}]}, {name: no-office, action: Deny, from: [{namespace: office}], to: [{methods: [GET]}]}]}`)
	enforced := ruling(t, room.AtNamespace, "shop/enforced", `{rules: [{name: all}, {name: no-stranger, action: Deny, from: [{serviceAccount: {namespace: shop, name: stranger}}]}]}`)
	for name, a := range map[string]mesh.Access{
		mesh.AccessBytes:      {Tried: []mesh.TriedPorts{wouldBe(t, []int32{int32(g.raw)}, friends)}},
		mesh.AccessUndeclared: {Ruled: []mesh.RuledPorts{{Let: connections(t, `{rules: [{name: all}, {name: no-stranger, action: Deny, from: [{serviceAccount: {namespace: shop, name: stranger}}]}]}`)}}, Tried: []mesh.TriedPorts{wouldBe(t, nil, enforced, friends)}},
	} {
		a.Name, a.TrustDomain = name, "mesh.test"
		commitTo(g.store, g.account, map[string]proto.Message{name: envoy.Access(a)})
	}
	g.knows(t)
	g.knows(t)
	for _, port := range []uint32{g.raw, g.loose} {
		for name, rule := range map[string]string{account("web"): "", account("batch"): "none", office: "no-office"} {
			c := as(t, port, "mesh", name)
			if got := hears(t, c); got != opening {
				t.Errorf("%s hears %q at %d", name, got, port)
			}
			c.Close()
			want := map[string]any{"source_principal": name, "shadow_policy": "shop/friends-tried", "shadow_result": "denied", "shadow_rule": rule, "destination": fmt.Sprintf("127.0.0.1:%d", port)}
			if rule == "" {
				want["shadow_result"] = "allowed"
				delete(want, "shadow_rule")
			}
			eventually(t, fmt.Sprintf("the log has %v", want), func() bool { return tells(g.log.String(), want) })
		}
	}
	if got := hears(t, as(t, g.loose, "mesh", account("stranger"))); got != "" {
		t.Errorf("whom an enforced policy refuses hears %q", got)
	}
	plain := dial(t, g.raw)
	if got := hears(t, plain); got != opening {
		t.Errorf("plaintext hears %q", got)
	}
	defer func() {
		if t.Failed() {
			t.Log(shadowSeries(g.admin))
		}
	}()
	eventually(t, "connections are counted, while they are open too", func() bool {
		return shadowCount(g.admin, "denied", `policy="shop/friends-tried"`) == 5 && shadowCount(g.admin, "denied", `destination_port="5432"`) == 3 && shadowCount(g.admin, "denied", "") == 5 && shadowCount(g.admin, "allowed", "") == 2
	})
}

// TestShadowOfManyBytes: however much policies say of connections, a proxy reads it.
func TestShadowOfManyBytes(t *testing.T) {
	t.Parallel()
	g := startGuard(t)
	var tried []mesh.TriedPorts
	for i := range 40 {
		at := mesh.TriedPorts{Ports: []int32{int32(i) + 1}, Section: "authorization", Policy: fmt.Sprint("shop/p-", i)}
		for j := range 40 {
			at.Would = append(at.Would, room.Refusal{Section: "authorization", Policy: at.Policy, Rule: fmt.Sprint("r", j), When: fmt.Sprintf("connection.uri_san_peer_certificate == 'spiffe://mesh.test/ns/shop/sa/%d-%d'", i, j)})
		}
		tried = append(tried, at)
	}
	last := wouldBe(t, []int32{int32(g.raw)}, ruling(t, room.AtService, "shop/last-tried", `{}`))
	for _, some := range [][]mesh.TriedPorts{tried, tried[:9]} {
		commitTo(g.store, g.account, map[string]proto.Message{mesh.AccessBytes: envoy.Access(mesh.Access{Name: mesh.AccessBytes, TrustDomain: "mesh.test", Tried: append(some[:len(some):len(some)], last)})})
		g.knows(t)
		g.knows(t)
		before := shadowCount(g.admin, "denied", "")
		if got := hears(t, as(t, g.raw, "mesh", account("web"))); got != opening {
			t.Errorf("a caller hears %q", got)
		}
		eventually(t, "the connection is counted", func() bool { return shadowCount(g.admin, "denied", "") == before+1 })
	}
}

// TestShadowAndProbes: of what the node sends in plaintext, policies in Shadow would not refuse the kubelet's probes.
func TestShadowAndProbes(t *testing.T) {
	t.Parallel()
	ports := porttest.Free(t, 2)
	web, raw := ports[0], ports[1]
	in := mesh.Inbound{TrustDomain: "mesh.test", Identity: appID, Mode: mesh.MTLSPermissive, ConnectionAge: time.Hour, Telemetry: everything, Ports: []mesh.InboundPort{
		{Port: int32(web), Protocol: mesh.HTTP1, Mode: mesh.MTLSPermissive, Service: "shop/cart", Of: 80},
		{Port: int32(raw), Protocol: mesh.TCP, Mode: mesh.MTLSPermissive, Service: "shop/cart", Of: 5432},
	}, Probes: []sidecar.Probe{{Port: int32(web), Kind: sidecar.HTTP, Path: "/live"}, {Port: int32(raw), Kind: sidecar.HTTP, Path: "/live"}}}
	shut := ruling(t, room.AtService, "shop/shut-tried", `{}`)
	filters := map[string]proto.Message{
		mesh.Guards:      envoy.InboundGuards(mesh.InboundGuards{Others: []room.Decided{shut}}),
		mesh.AccessBytes: envoy.Access(mesh.Access{Name: mesh.AccessBytes, TrustDomain: "mesh.test", Tried: []mesh.TriedPorts{wouldBe(t, nil, shut)}}),
	}
	var listeners []*listenerv3.Listener
	for _, port := range ports {
		listeners = append(listeners, filled(t, at(t, port, envoy.NodeInbound(in)), filters))
	}
	e := trying(t, listeners...)
	for _, path := range []string{"/live", "/live?x", "/"} {
		gets(t, web, path)
	}
	says(t, raw, "GET /live HTTP/1.1\r\n\r\n")
	counted(t, e, "1", "envoy_weft_tcp_connections_opened_total", "destination_port", "5432")
	counted(t, e, "2", denied, "destination_port", "80", "section", "authorization", "policy", "shop/shut-tried", "destination_principal", appID, "source_principal", "")
	uncounted(t, e, "destination_port", "5432")
}
