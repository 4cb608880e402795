package opa

import (
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"testing"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"

	"github.com/weft-mesh/weft/internal/opa/opatest"
)

// met are the names of the policies that a request meets in a Filter, as Envoy finds them.
func (f Filter) met(in map[string]any) (out []string) {
	out = slices.Collect(maps.Keys(f.Policies))
	for _, i := range f.Indexes {
		of := map[string]attribute{ByPrincipal: principal, ByPath: path, ByHeader: header(i.Header)}[i.By]
		v, _ := of.of(in)
		text, _ := v.(string)
		found := ""
		for k := range i.Rules {
			if k == text || i.By == ByPath && strings.HasPrefix(text, k) && len(k) > len(found) {
				found = k
			}
		}
		if rules := i.Rules[found]; rules != nil {
			out = append(out, slices.Collect(maps.Keys(rules.Policies))...)
		}
	}
	return out
}

// TestIndexed: whatever many rules say, each that holds of a request is among those that it meets, and these are few.
func TestIndexed(t *testing.T) {
	t.Parallel()
	indexed := map[string]bool{}
	for seed := range int64(20) {
		r := rand.New(rand.NewSource(seed))
		p := Policy{Key: "shop/p", Authorization: opatest.Many(r, 600), TrustDomain: "mesh.test", GatewayAccount: func(_, name string) string { return name + "tch" }, Data: opatest.Data}
		rules, problems := Compile(p).For(Destination{Namespace: "shop", ServiceAccount: "cart", Labels: opatest.Labels})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		filters, _ := Indexed([]Level{{Rules: rules, Claims: "claims"}})
		for _, f := range filters {
			for _, i := range f.Indexes {
				indexed[fmt.Sprint(f.Action, i.By)] = true
			}
		}
		for range 40 {
			meets(t, rules, filters, manyInput(r))
		}
	}
	for _, some := range []string{"ALLOWpath", "ALLOWprincipal", "ALLOWheader", "DENYprincipal"} {
		if !indexed[some] {
			t.Errorf("nothing was found by %s", some)
		}
	}
}

func meets(t *testing.T, rules []Rule, filters []Filter, in map[string]any) {
	t.Helper()
	met := map[rbacv3.RBAC_Action][]string{}
	for _, f := range filters {
		met[f.Action] = f.met(in)
	}
	for _, rule := range rules {
		action := rbacv3.RBAC_ALLOW
		if rule.Deny {
			action = rbacv3.RBAC_DENY
		}
		if rule.is.holds(in) && !slices.Contains(met[action], rule.Name) {
			t.Errorf("%v does not meet %s: %v", in, rule.Name, rule.is)
		}
	}
	if n := len(met[rbacv3.RBAC_ALLOW]); n > 200 {
		t.Errorf("%v meets %d policies that allow", in, n)
	}
}

// manyInput draws one that some of Many may be about.
func manyInput(r *rand.Rand) map[string]any {
	in := opatest.Input(r)
	request := in["request"].(map[string]any)
	text := opatest.Paths[r.Intn(len(opatest.Paths))] + []string{"", "", "/", "/x", "/x/y", "x"}[r.Intn(6)]
	var segments []any
	for s := range strings.SplitSeq(text[1:], "/") {
		segments = append(segments, s)
	}
	request["path"], request["segments"] = text, segments
	request["headers"].(map[string]any)["x-tenant"] = opatest.Tenants[r.Intn(len(opatest.Tenants))]
	if r.Intn(2) == 0 {
		in["source"].(map[string]any)["principal"] = fmt.Sprintf("spiffe://mesh.test/ns/shop/sa/a%d", r.Intn(60))
	}
	return in
}

// TestFewAreAskedInTurn: what is asked one after the other is not looked for.
func TestFewAreAskedInTurn(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewSource(1))
	rules, _ := Compile(Policy{Key: "shop/p", Authorization: opatest.Many(r, maxLinear), TrustDomain: "mesh.test", GatewayAccount: func(_, name string) string { return name }, Data: opatest.Data}).For(Destination{})
	filters, _ := Indexed([]Level{{Rules: rules}})
	for _, f := range filters {
		if len(f.Indexes) > 0 {
			t.Errorf("%d rules, and %d indexes", len(rules), len(f.Indexes))
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for regex, want := range map[string]string{
		"(?s:/a)":                          "[{/a }]",
		"(?s:/a(?:/.*)?)":                  "[{/a /a/}]",
		"(?s:/a/(?:/.*)?)":                 "[{/a/ /a//}]",
		"(?s:(?:/.*)?)":                    "none",
		"(?s:/users/[^/]+/orders)":         "[{/users/ /users/}]",
		"(?s:/item1|/item2|/item(?:/.*)?)": "[{/item1 } {/item2 } {/item /item/}]",
		"(?si:/a)":                         "none",
		"(?s:/[^/]+)":                      "[{/ /}]",
		"(?s:/café)":                       "[{/café }]",
		"(?s:/a|)":                         "none",
		"(":                                "none",
	} {
		keys, ok := beginnings(regex)
		got := fmt.Sprint(keys)
		if !ok {
			got = "none"
		}
		if got != want {
			t.Errorf("%s: %s, wanted %s", regex, got, want)
		}
	}
}
