package opa

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/opa/opatest"
)

func rawPolicy(text string) Policy {
	return Policy{
		Key: "shop/p", Authorization: &v1alpha1.Authorization{Rego: &v1alpha1.AuthorizationRego{}}, TrustDomain: "mesh.test",
		Modules: func(v1alpha1.AuthorizationRego) Text { return Text{Text: text} },
	}
}

// TestModulesCompiled: of modules that people could have written, what is compiled says the same as OPA does; where a
// part is nothing that Envoy decides, it lets in nobody whom OPA would not, and keeps out whomever OPA would.
func TestModulesCompiled(t *testing.T) {
	t.Parallel()
	counts := map[string]int{}
	for seed := range int64(400) {
		moduleAlike(t, seed, counts)
	}
	for _, some := range []string{"exact", "inexact", "allowed", "denied", "neither"} {
		if counts[some] < 50 {
			t.Errorf("%d %s: %v", counts[some], some, counts)
		}
	}
	t.Log(counts)
}

// FuzzModulesCompiled has few seeds of its own: OPA is slow under the engine that draws them.
func FuzzModulesCompiled(f *testing.F) {
	f.Add(int64(1000))
	f.Fuzz(func(t *testing.T, seed int64) { moduleAlike(t, seed, map[string]int{}) })
}

func moduleAlike(t *testing.T, seed int64, counts map[string]int) {
	t.Helper()
	r := rand.New(rand.NewSource(seed))
	text := opatest.Module(r, seed%2 == 0)
	c := Compile(rawPolicy(text))
	d := Destination{Namespace: "shop", ServiceAccount: "cart", Labels: opatest.Labels}
	rules, problems := c.For(d)
	if len(problems)+len(c.Problems) > 0 {
		t.Fatalf("seed %d: %v %v of\n%s", seed, problems, c.Problems, text)
	}
	whole := opatest.Decide(t, text)
	known := func(a atom) bool { return a.op != unknownToEnvoy }
	for range 40 {
		in := opatest.Input(r)
		maps.Copy(in, d.input())
		var allow, deny bool
		exactly := map[bool]bool{true: true, false: true}
		for _, rule := range rules {
			holds := rule.is.bounded(rule.Deny, known).holds(in)
			allow, deny = allow || holds && !rule.Deny, deny || holds && rule.Deny
			for _, a := range rule.is.atoms() {
				exactly[rule.Deny] = exactly[rule.Deny] && known(a)
			}
		}
		if seed%2 == 0 && !(exactly[true] && exactly[false]) {
			t.Fatalf("seed %d: a part is unknown to Envoy of\n%s", seed, text)
		}
		allowed, denied := whole.Of(t, in)
		if got := judged(t, rules, in); got != (allowed && !denied) {
			t.Fatalf("seed %d: with OPA asked of what is left it is let in: %t, OPA says %t %t of %v by\n%s", seed, got, allowed, denied, in, text)
		}
		counts[map[bool]string{true: "exact", false: "inexact"}[exactly[true] && exactly[false]]]++
		counts[map[bool]string{true: "allowed"}[allowed]]++
		counts[map[bool]string{true: "denied"}[denied]]++
		counts[map[bool]string{true: "neither"}[!allowed && !denied]]++
		if allow && !allowed || denied && !deny || exactly[false] && allow != allowed || exactly[true] && deny != denied {
			t.Fatalf("seed %d: compiled %t %t, OPA says %t %t, exactly %v, of %v by\n%s", seed, allow, deny, allowed, denied, exactly, in, text)
		}
	}
}

// judged is what becomes of an Input where a proxy asks OPA for what it does not decide.
func judged(t *testing.T, rules []Rule, in map[string]any) bool {
	t.Helper()
	var sure, on, doubt, denied bool
	for _, r := range rules {
		_, left := r.policy()
		rest := allOf(slices.DeleteFunc(slices.Clone(r.is.conjuncts()), func(f formula) bool {
			return slices.ContainsFunc(left, func(l formula) bool { return reflect.DeepEqual(l, f) })
		})...)
		switch about := rest.holds(in); {
		case len(left) == 0:
			sure, denied = sure || about && !r.Deny, denied || about && r.Deny
		case r.Deny:
			doubt = doubt || about
		default:
			on = on || about
		}
	}
	_, gate := Indexed([]Level{{Rules: rules, Claims: "claims"}})
	if denied || !sure && !on || sure && !doubt || gate == nil {
		return sure && !denied && !doubt
	}
	q, err := ReadQuestion(gate.Question.Text())
	if err != nil {
		t.Fatal(err)
	}
	j, err := NewJudge(q)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	e := Evidence{Allowed: func(string) bool { return sure }}
	if err := json.Unmarshal(text, &e.Input); err != nil {
		t.Fatal(err)
	}
	e.Claims = func(string) map[string]any { return e.JWT.Claims }
	said, err := j.Answer(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return said.Allowed
}

// TestModuleWitness: a Witness answers of a module, and of rules beside it, as OPA does.
func TestModuleWitness(t *testing.T) {
	t.Parallel()
	told := 0
	for seed := range int64(60) {
		r := rand.New(rand.NewSource(seed))
		p := rawPolicy(opatest.Module(r, false))
		p.Rules, p.GatewayAccount, p.Data = opatest.Authorization(r).Rules, func(_, name string) string { return name + "tch" }, opatest.Data
		w, err := p.Witness()
		if err != nil {
			t.Fatal(err)
		}
		rules, module := opatest.Decide(t, p.Module()), opatest.Decide(t, p.Modules(v1alpha1.AuthorizationRego{}).Text)
		for range 20 {
			_, document, said := w.hear(t, r)
			allow, deny := rules.Of(t, document)
			also, nor := module.Of(t, document)
			if said.Allow != (allow || also) || said.Deny != (deny || nor) {
				t.Fatalf("seed %d: %+v, OPA says %t %t and %t %t of %v", seed, said, allow, deny, also, nor, document)
			}
			n := len(said.Rules)
			if said.Rules[n-2].Holds != also || said.Rules[n-1].Holds != nor || said.Rules[n-1].Short() != rawDeny {
				t.Fatalf("seed %d: %+v", seed, said.Rules[n-2:])
			}
			if also || nor {
				told++
			}
		}
	}
	if told < 100 {
		t.Errorf("the module says something of %d inputs only", told)
	}
}

// FuzzModule: whatever text is taken for a module, OPA comes to an end with it, Envoy's own checks take what becomes of it,
// and of one that is refused everything is denied.
func FuzzModule(f *testing.F) {
	for seed := range int64(10) {
		f.Add(opatest.Module(rand.New(rand.NewSource(seed)), false))
	}
	f.Add("package weft.v1\nallow if { some i; x := input.request.segments[i]; x in {y | some y in [1, 2]} }\ndeny if every s in input.request.segments { s != \"a\" }")
	f.Add("package weft.v1\nf(x) := y if { y := x }\nallow if f(input.request.method) == \"GET\" with input.request.method as \"PUT\"")
	f.Fuzz(func(t *testing.T, text string) {
		c := Compile(rawPolicy(text))
		rules, _ := c.For(Destination{Namespace: "shop", ServiceAccount: "cart", Labels: opatest.Labels})
		if len(c.Problems) > 0 && (len(rules) != 1 || !rules[0].Deny || !rules[0].is.always()) {
			t.Errorf("%v, and %v", c.Problems, rules)
		}
		for _, filter := range everyFilter(t, []Level{{Rules: rules, Claims: "claims"}}) {
			if err := filter.ValidateAll(); err != nil {
				t.Errorf("%v in %v", err, filter)
			}
		}
		if text := Connection([]Level{{Rules: rules}}); strings.ContainsAny(text, "%\n\"") {
			t.Errorf("%s", text)
		}
	})
}

// everyFilter are those that requests meet, with those that find out whether OPA is asked; what it is asked can be read.
func everyFilter(t *testing.T, levels []Level) (out []*rbacv3.RBAC) {
	t.Helper()
	filters, gate := Indexed(levels)
	for _, f := range filters {
		if out = append(out, f.RBAC); f.Sure != nil {
			out = append(out, f.Sure)
		}
	}
	if gate == nil {
		return out
	}
	if gate.Doubt != nil {
		out = append(out, gate.Doubt)
	}
	q, err := ReadQuestion(gate.Question.Text())
	if err == nil {
		_, err = NewJudge(q)
	}
	if err != nil {
		t.Errorf("%v of %s", err, gate.Question.Text())
	}
	return append(out, gate.Sure)
}

// TestModuleOfManyWays: a rule of more ways than are compiled is asked about whole, if its module is not too long for that.
func TestModuleOfManyWays(t *testing.T) {
	t.Parallel()
	var all []string
	for i := range 2 * maxWays {
		all = append(all, quote(fmt.Sprint("/", i)))
	}
	rules, problems := Compile(rawPolicy("package weft.v1\nn := {" + strings.Join(all, ", ") + "}\nallow if { some a in n; input.request.path == a }")).For(Destination{Namespace: "shop"})
	if len(problems) > 0 || len(rules) != 1 || !rules[0].Asked() {
		t.Fatalf("%v %+v", problems, rules)
	}
	if by, why := rules[0].By(); by != OPA || !strings.HasPrefix(why, "all of it: it comes to 512 ways to hold") {
		t.Errorf("%s %s", by, why)
	}
	for path, want := range map[string]bool{"/511": true, "/512": false} {
		if got := judged(t, rules, map[string]any{"request": map[string]any{"path": path}}); got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
}

// TestModulesRefused: in which line something is wrong with a module, and what.
func TestModulesRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                            "is empty: write a module of package weft.v1",
		"package":                     "has a mistake in line 1: ",
		"package a":                   "has a mistake in line 1: package a: write package weft.v1",
		"package weft.v1\nallow if {": "has a mistake in line 2: ",
		"package weft.v1\nimport data.a\nallow if true":                                    "has a mistake in line 2: there is nothing to import",
		"package weft.v1\nallow if input.request.pth == \"/\"":                             "has a mistake in line 2: undefined ref: input.request.pth",
		"package weft.v1\nallow if input.request.method == 7":                              "has a mistake in line 2: match error",
		"package weft.v1\nallow if http.send({}).status == 200":                            "has a mistake in line 2: undefined function http.send: a module may call",
		"package weft.v1\nallow if time.now_ns() > 5":                                      "has a mistake in line 2: undefined function time.now_ns",
		"package weft.v1\nallow if x":                                                      "has a mistake in line 2: ",
		"package weft.v1\nallow contains \"a\"":                                            "has a mistake in line 2: allow is a rule that is true: write allow if { … }",
		"package weft.v1\ndeny contains m if { m := input.request.method }":                "has a mistake in line 2: deny is a rule that is true",
		"package weft.v1\nallow := {\"a\": true}":                                          "has a mistake in line 2: allow is a rule that is true",
		"package weft.v1\nallow := input.request.method == \"GET\"":                        "has a mistake in line 2: allow is a rule that is true",
		"package weft.v1\nallow(x) if x":                                                   "has a mistake in line 2: allow is a rule that is true",
		"package weft.v1\nallow.a if true":                                                 "has a mistake in line 2: allow is a rule that is true",
		"package weft.v1\ndefault allow := true":                                           "has a mistake in line 2: allow is not true by default",
		"package weft.v1\ndeny := false if input.request.method == \"GET\"":                "has a mistake in line 2: deny is true where it holds",
		"package weft.v1\nallow if false else := true":                                     "has a mistake in line 2: allow has an else",
		"package weft.v1\ndeny if not startswith(input.request.path, \"/open\")":           "has a mistake in line 2: not startswith(input.request.path, \"/open\") is undefined, and not true, where what it asks for is missing",
		"package weft.v1\ndeny if {\n not input.jwt.claims.admin\n}":                       "has a mistake in line 3: not input.jwt.claims.admin is undefined",
		"package weft.v1\ndeny if not input.request.method == \"GET\"":                     "has a mistake in line 2: not equal(input.request.method",
		"package weft.v1\nallow if input.request.headers[\"X-A\"] == \"a\"":                "has a mistake in line 2: no request has the header \"X-A\"",
		"package weft.v1\nallow if regex.match(\"\\\\p{Nope}\", input.request.path)":       "has a mistake in line 2: regular expression",
		"package weft.v1\nallow if { p := \"a\"; regex.match(p, input.request.path) }":     "has a mistake in line 2: write the regular expression out",
		"package weft.v1\nallow if some x in input.destination.labels":                     "has a mistake in line 2: input.destination.labels: write out what is asked for",
		"package weft.v1\nallow if { k := \"team\"; input.destination.labels[k] == \"\" }": "has a mistake in line 2: input.destination.labels[k]: write out",
		"package weft.v1\nallow if { x := input; x.request.method == \"GET\" }":            "has a mistake in line 2: input: write out",
		"package weft.v1\nallow if { k := \"a\"; input[k].method == \"GET\" }":             "has a mistake in line 2: input[k]",
		"package weft.v1\nallow if data.users[input.jwt.claims.sub]":                       "has a mistake in line 2: data.users[input.jwt.claims.sub]: there are no documents",
		"package weft.v1\ninternal if input.request.method == \"GET\"\nallow if internal":  "has a mistake in line 2: internal is a name that OPA needs",
		"package weft.v1\nallow if allow":                                                  "has a mistake in line 2: rule data.weft.v1.allow is recursive",
		strings.Repeat("#", MaxModule+1):                                                   "has more than 65536 bytes",
	} {
		if got := CheckModule(text); !strings.HasPrefix(got, want) {
			t.Errorf("%s\nsays %q, not %q", text, got, want)
		}
	}
}

// TestModuleMissing: while a module is missing or cannot be read, everything is denied, whatever else allows.
func TestModuleMissing(t *testing.T) {
	t.Parallel()
	for _, found := range []Text{{Problem: "is not there"}, {Text: "package a"}} {
		p := rawPolicy("")
		p.Rules = []v1alpha1.AuthorizationRule{{Name: "all"}}
		p.Modules = func(v1alpha1.AuthorizationRego) Text { return found }
		c := Compile(p)
		rules, _ := c.For(Destination{Namespace: "shop"})
		if len(rules) != 2 || rules[0].Short() != "rego/deny" || !rules[0].Deny || !rules[0].is.always() || len(c.Problems) != 1 {
			t.Errorf("%+v: %v %v", found, rules, c.Problems)
		}
	}
}

// TestModuleTooSlow: what OPA would take long for ends, says so, and lets nobody in.
func TestModuleTooSlow(t *testing.T) {
	t.Parallel()
	many := "[" + strings.Repeat("1,", 200) + "1]"
	for what, text := range map[string]string{
		"steps": "package weft.v1\nn := " + many + "\nallow if { some a in n; some b in n; some c in n; some d in n; a + b + c + d == 5; input.request.method == \"GET\" }\ndeny if { some a in n; some b in n; some c in n; a + b + c == 4 }",
		"ways":  "package weft.v1\nn := {" + numbers(300) + "}\nallow if { some a in n; input.request.path == a }",
	} {
		rules, problems := Compile(rawPolicy(text)).For(Destination{Namespace: "shop"})
		if len(problems) == 0 || !strings.Contains(problems[0].What, what) {
			t.Errorf("%s: %v", what, problems)
		}
		for _, r := range rules {
			if !r.Deny || !r.is.always() {
				t.Errorf("%s: %+v", what, r)
			}
		}
	}
}

func numbers(n int) string {
	var all []string
	for i := range n {
		all = append(all, quote("/"+strings.Repeat("a", i)))
	}
	return strings.Join(all, ", ")
}
