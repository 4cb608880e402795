package opatest

import (
	"fmt"
	"math/rand"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Tenants are values of x-tenant, and Paths are paths, over which Many is drawn.
var (
	Tenants = numbered("t%d", 40)
	Paths   = append(numbered("/p%d", 150), "/p1/x", "/p1/x/y", "/p1x", "/p10/", "/p2/open", "/p2/admin?x", "/users/p1", "/open/p1")
)

func numbered(format string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf(format, i))
	}
	return out
}

// Many draws n rules that are each about little.
func Many(r *rand.Rand, n int) *v1alpha1.Authorization {
	out := &v1alpha1.Authorization{}
	for i := range n {
		rule := v1alpha1.AuthorizationRule{Name: fmt.Sprint("r", i), Action: v1alpha1.AuthorizationAllow}
		narrow(r, &rule)
		if r.Intn(10) < 4 {
			rule.Action = v1alpha1.AuthorizationDeny
			rule.From = []v1alpha1.AuthorizationSource{account(r)}
		}
		if r.Intn(4) == 0 {
			rule.When = append(rule.When, condition(r))
		}
		out.Rules = append(out.Rules, rule)
	}
	return out
}

func narrow(r *rand.Rand, rule *v1alpha1.AuthorizationRule) {
	switch r.Intn(9) {
	case 0, 1, 2:
		rule.To = []v1alpha1.AuthorizationOperation{{Paths: some(r, 3, func() v1alpha1.AuthorizationPath { return manyPath(r) })}}
	case 3, 4:
		rule.From = some(r, 2, func() v1alpha1.AuthorizationSource { return account(r) })
	case 5, 6:
		rule.To = []v1alpha1.AuthorizationOperation{{Headers: []v1alpha1.AuthorizationHeader{{Name: "x-tenant", Values: some(r, 2, func() string { return one(r, Tenants...) })}}}}
	case 7:
		rule.When = []v1alpha1.AuthorizationCondition{{Attribute: "request.segments[0]", Operator: v1alpha1.AttributeIn, Values: some(r, 2, func() string { return one(r, Paths[:150]...)[1:] })}}
	default:
		rule.From, rule.To = []v1alpha1.AuthorizationSource{account(r), source(r)}, []v1alpha1.AuthorizationOperation{operation(r), {Paths: []v1alpha1.AuthorizationPath{manyPath(r)}}}
	}
}

func account(r *rand.Rand) v1alpha1.AuthorizationSource {
	return v1alpha1.AuthorizationSource{ServiceAccount: &v1alpha1.ObjectName{Namespace: "shop", Name: one(r, append(numbered("a%d", 60), "web", "batch")...)}}
}

func manyPath(r *rand.Rand) (p v1alpha1.AuthorizationPath) {
	switch text := one(r, Paths...); r.Intn(3) {
	case 0:
		p.Exact = text
	case 1:
		p.Prefix = one(r, text, text, text, text+"/")
	default:
		p.Template = one(r, text+"/{x}", text+"/{rest...}", text+"/{x}/y")
	}
	return p
}
