package envoy_test

import (
	"fmt"
	"net"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// connections is what a policy says of those that carry no HTTP.
func connections(t *testing.T, text string) string {
	t.Helper()
	p := opa.Policy{Key: "shop/cart", Authorization: roomtest.Written[v1alpha1.Authorization](t, text), TrustDomain: "mesh.test"}
	rules, _ := opa.Compile(p).For(called)
	return opa.Connection([]opa.Level{{Rules: rules}})
}

// rules has policies rule connections to one port, or all, as soon as it returns.
func (g guard) rules(t *testing.T, name string, ruled ...mesh.RuledPorts) {
	t.Helper()
	commitTo(g.store, g.account, map[string]proto.Message{name: envoy.Access(mesh.Access{Name: name, TrustDomain: "mesh.test", Ruled: ruled})})
	g.knows(t)
	g.knows(t)
}

// TestAuthorizationOfBytes: on ports that carry no HTTP, policies let in by who connects, from where and to which
// port. Who is refused hears nothing of an app that speaks first; a rule that asks for a request lets nobody in, and
// one that denies keeps all out that the rest of it is about. Ports that no policy is about take plaintext as before.
func TestAuthorizationOfBytes(t *testing.T) {
	t.Parallel()
	g := startGuard(t)
	office := "spiffe://mesh.test/ns/office/sa/web"
	for text, in := range map[string]map[string]bool{
		`rules: [{name: a, from: [{serviceAccount: {namespace: shop, name: web}}]}]`:                                                {account("web"): true, account("batch"): false, office: false},
		`rules: [{name: a, from: [{namespace: office}, {serviceAccount: {namespace: shop, name: batch}, ipBlocks: [10.0.0.0/8]}]}]`: {office: true, account("batch"): false, account("web"): false},
		`rules: [{name: a, from: [{ipBlocks: [127.0.0.0/31]}]}]`:                                                                    {account("web"): true, office: true},
		`rules: [{name: a, from: [{ipBlocks: ["::/0", 127.0.0.2/31]}]}]`:                                                            {account("web"): false},
		`rules: [{name: a}, {name: d, action: Deny, from: [{namespace: office}]}]`:                                                  {account("web"): true, office: false},
		`rules: [{name: a}, {name: d, action: Deny, from: [{namespace: office}], to: [{methods: [GET]}]}]`:                          {account("web"): true, office: false},
		`rules: [{name: a, to: [{methods: [GET]}]}]`:                                                                                {account("web"): false},
		`rules: [{name: a, when: [{attribute: source.namespace, operator: NotIn, values: [office]}]}]`:                              {account("web"): true, office: false},
		`rules: [{name: a, when: [{attribute: source.serviceAccount, operator: StartsWith, values: [we]}]}]`:                        {account("web"): true, account("batch"): false},
		`rules: [{name: a, when: [{attribute: "jwt.claims[x]", operator: DoesNotExist}]}]`:                                          {account("web"): false},
		fmt.Sprintf(`rules: [{name: a, to: [{ports: [%d]}]}]`, g.raw):                                                               {account("web"): true},
		`rules: [{name: a, to: [{ports: [1]}]}]`:                                                                                    {account("web"): false},
		`rules: []`:                                                                                                                 {account("web"): false},
	} {
		let := connections(t, text)
		g.rules(t, mesh.AccessBytes, mesh.RuledPorts{Ports: []int32{int32(g.raw)}, Let: let})
		for name, want := range in {
			if got := hears(t, as(t, g.raw, "mesh", name)); (got != "") != want {
				t.Errorf("%s hears %q, wanted in %t, by %s: %s", name, got, want, text, let)
			}
		}
		for what, c := range map[string]net.Conn{"two names": as(t, g.raw, "mesh", account("web"), office), "plaintext": dial(t, g.raw)} {
			if got := hears(t, c); got != "" {
				t.Errorf("%s hears %q by %s", what, got, text)
			}
		}
	}
	g.rules(t, mesh.AccessUndeclared, mesh.RuledPorts{Ports: []int32{1}, Let: "false"})
	if got := hears(t, as(t, g.loose, "mesh", account("web"))); got != opening {
		t.Errorf("at a port that no policy is about, who has a certificate hears %q", got)
	}
	if got := hears(t, dial(t, g.loose)); got != opening {
		t.Errorf("at a port that no policy is about, plaintext hears %q", got)
	}
	g.rules(t, mesh.AccessUndeclared, mesh.RuledPorts{Let: "false"})
	if got := hears(t, as(t, g.loose, "mesh", account("web"))); got != "" {
		t.Errorf("at a port that policies shut, who has a certificate hears %q", got)
	}
}
