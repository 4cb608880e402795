package envoy_test

import (
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/jwttest"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// ruled is a policy of a level, as it holds at a Gateway.
func ruled(t *testing.T, at room.Level, text string) room.Decided {
	t.Helper()
	says := roomtest.Written[v1alpha1.Authorization](t, text)
	rules, problems := opa.Compile(opa.Policy{Key: "shop/front", Authorization: says, TrustDomain: "mesh.test"}).For(opa.Destination{Gateway: true, Namespace: "shop", ServiceAccount: "web-weft"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return room.Decided{Section: authorization.Section.Name, Policy: "shop/front", Level: at, Says: says, Law: authorization.RulingOf(rules), Claims: room.ClaimsFor(at, []room.Level{room.AtService})}
}

// TestAuthorizationAtGateways: at a Gateway each route goes by the policies about it, which of every level must let a
// request in; tokens come first. Nobody there is a pod of the mesh.
func TestAuthorizationAtGateways(t *testing.T) {
	t.Parallel()
	a := newOP(t, "a")
	tokens := demanded(t, room.AtService, map[string]string{"a": jwttest.Set(a.key)}, "providers: ["+provider("a", "https://a", "")+"]")
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, map[string][]room.Decided{
		"/reads":   {ruled(t, room.AtService, `{rules: [{name: r, to: [{methods: [GET]}]}, {name: d, action: Deny, to: [{paths: [{prefix: /reads/secret}]}]}]}`)},
		"/both":    {ruled(t, room.AtNamespace, `{rules: [{name: r, to: [{methods: [GET]}]}]}`), ruled(t, room.AtRoute, `{rules: [{name: h, to: [{headers: [{name: x-a, values: [b]}]}]}]}`)},
		"/pods":    {ruled(t, room.AtService, `{rules: [{name: p, from: [{serviceAccount: {namespace: shop, name: web}}, {trustDomain: mesh.test}]}]}`)},
		"/nobody":  {ruled(t, room.AtService, `{rules: [{name: p, when: [{attribute: source.principal, operator: DoesNotExist}]}]}`)},
		"/own":     {tokens, ruled(t, room.AtService, `{rules: [{name: o, when: [{attribute: "request.segments[1]", operator: In, attributes: [jwt.subject]}]}]}`)},
		"/ours":    {ruled(t, room.AtService, `{rules: [{name: o, when: [{attribute: destination.serviceAccount, operator: In, values: [web-weft]}], from: [{ipBlocks: [127.0.0.0/8, "::1/128"]}]}]}`)},
		"/nowhere": {ruled(t, room.AtService, `{}`)},
	})}.start(t)
	ann := bearer(a.token(nil))
	for _, c := range []struct {
		method, path string
		headers      []string
		status       int
	}{
		{"GET", "/reads", nil, 200}, {"POST", "/reads", nil, 403}, {"GET", "/reads/secret", nil, 403}, {"GET", "/reads/x/../SECRET", nil, 403},
		{"GET", "/both", []string{"x-a", "b"}, 200}, {"GET", "/both", nil, 403}, {"POST", "/both", []string{"x-a", "b"}, 403},
		{"GET", "/pods", nil, 403}, {"GET", "/nobody", nil, 200}, {"GET", "/ours", nil, 200}, {"GET", "/nowhere", nil, 403},
		{"GET", "/own/ann", ann, 200}, {"GET", "/own/bob", ann, 403}, {"GET", "/own/ann", nil, 401},
	} {
		if response, _ := g.send(t, c.method, c.path, c.headers...); response.StatusCode != c.status {
			t.Errorf("%s %s %v: %d, wanted %d", c.method, c.path, c.headers, response.StatusCode, c.status)
		}
	}
}
