package opa

import (
	"math/rand"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/opa/opatest"
)

// holds is what a formula says of an Input.
func (f formula) holds(in map[string]any) bool {
	switch f.kind {
	case atomKind:
		return f.atom.holds(in)
	case notKind:
		return !f.parts[0].holds(in)
	case allKind:
		return !slices.ContainsFunc(f.parts, func(p formula) bool { return !p.holds(in) })
	}
	return slices.ContainsFunc(f.parts, func(p formula) bool { return p.holds(in) })
}

func (a attribute) of(in any) (any, bool) {
	for _, word := range a {
		switch v := in.(type) {
		case map[string]any:
			var ok bool
			if in, ok = v[word]; !ok {
				return nil, false
			}
		case []any:
			n, err := strconv.Atoi(word)
			if err != nil || n >= len(v) || a.claim() {
				return nil, false
			}
			in = v[n]
		default:
			return nil, false
		}
	}
	return in, true
}

func (a atom) holds(in map[string]any) bool {
	v, there := a.of.of(in)
	text, isText := v.(string)
	list, isList := v.([]any)
	n, isNumber := v.(float64)
	isNumber = isNumber && there
	anyOf := func(f func(string, string) bool) bool {
		return isText && slices.ContainsFunc(a.values, func(v string) bool { return f(text, v) })
	}
	switch a.op {
	case isOne:
		return anyOf(func(a, b string) bool { return a == b })
	case has:
		return isList && slices.ContainsFunc(list, func(e any) bool { return e == any(a.values[0]) })
	case prefix:
		return anyOf(strings.HasPrefix)
	case suffix:
		return anyOf(strings.HasSuffix)
	case matching:
		return anyOf(func(s, e string) bool { return regexp.MustCompile("^(?:" + e + ")$").MatchString(s) })
	case within:
		return anyOf(func(s, e string) bool { return netip.MustParsePrefix(e).Contains(netip.MustParseAddr(s)) })
	case present:
		return there
	case null:
		return there && v == nil
	case textual:
		return isText
	case atLeast:
		return isNumber && n >= a.number
	case lessThan:
		return isNumber && n < a.number
	case portIs:
		return isNumber && n == a.number
	}
	o, _ := a.other.of(in)
	otherText, otherIsText := o.(string)
	if a.op == equals {
		return isText && otherIsText && text == otherText
	}
	return isList && otherIsText && slices.ContainsFunc(list, func(e any) bool { return e == any(otherText) })
}

// TestCompiled: of what is drawn from a seed, what was compiled for a destination says the same as OPA does by the
// whole of it.
func TestCompiled(t *testing.T) {
	for seed := range int64(300) {
		compiledAlike(t, seed)
	}
}

// FuzzCompiled has few seeds of its own: OPA is slow under the engine that draws them.
func FuzzCompiled(f *testing.F) {
	f.Add(int64(300))
	f.Fuzz(compiledAlike)
}

func compiledAlike(t *testing.T, seed int64) {
	d := Destination{Namespace: "shop", ServiceAccount: "cart", Labels: opatest.Labels}
	r := rand.New(rand.NewSource(seed))
	p := Policy{Key: "shop/p", Authorization: opatest.Authorization(r), TrustDomain: "mesh.test", GatewayAccount: func(_, name string) string { return name + "tch" }, Data: opatest.Data}
	rules, problems := Compile(p).For(d)
	if len(problems) > 0 {
		t.Fatalf("%v of\n%s", problems, p.Module())
	}
	opa := opatest.Decide(t, p.Module())
	for range 30 {
		in := opatest.Input(r)
		destination := d.input()["destination"].(map[string]any)
		destination["port"] = 8080.0
		in["destination"] = destination
		allow, deny := false, false
		for _, rule := range rules {
			allow, deny = allow || !rule.Deny && rule.is.holds(in), deny || rule.Deny && rule.is.holds(in)
		}
		if wantAllow, wantDeny := opa.Of(t, in); allow != wantAllow || deny != wantDeny {
			t.Fatalf("%v: allow %t, wanted %t, deny %t, wanted %t, by\n%s", in, allow, wantAllow, deny, wantDeny, p.Module())
		}
	}
}

// TestOPAOfToday: what Rego here is written around. A negation of a function whose operand is missing is
// undefined, and one of a rule that asks the same is true.
func TestOPAOfToday(t *testing.T) {
	t.Parallel()
	opa := opatest.Decide(t, `package weft.policy
allow if not startswith(input.claim, "a")
starts if startswith(input.claim, "a")
deny if not starts`)
	if allow, deny := opa.Of(t, map[string]any{}); allow || !deny {
		t.Errorf("of a function %t, of a rule %t: read again what internal/opa says of negation", allow, deny)
	}
}

// TestNobodyIsNobody: a label without a value is no caller's name.
func TestNobodyIsNobody(t *testing.T) {
	t.Parallel()
	for _, of := range []string{"source.principal", "source.trustDomain", "source.namespace", "source.serviceAccount"} {
		says := &v1alpha1.Authorization{Rules: []v1alpha1.AuthorizationRule{{Name: "r", When: []v1alpha1.AuthorizationCondition{
			{Attribute: "destination.labels[empty]", Operator: v1alpha1.AttributeIn, Attributes: []string{of}},
		}}}}
		rules, problems := Compile(Policy{Key: "shop/p", Authorization: says}).For(Destination{Namespace: "shop", Labels: map[string]string{"empty": ""}})
		if len(rules) > 0 || len(problems) > 0 {
			t.Errorf("%s: %v %v", of, rules, problems)
		}
	}
}
