package envoy_test

import (
	"fmt"
	"maps"
	"math/rand"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/opa/opatest"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// law is what policies of some levels say, and OPA with them.
type law struct {
	policies [][]opa.Policy
	answers  [][]opatest.Decision
	claims   []string // of each level; "": it has none to go by
	said     []room.Decided
}

func draw(t *testing.T, r *rand.Rand, of trials) law {
	t.Helper()
	var out law
	for i := range 1 + r.Intn(2) {
		var policies []opa.Policy
		for j := range 1 + r.Intn(2) {
			p := opa.Policy{
				Key: fmt.Sprintf("shop/p%d-%d", i, j), TrustDomain: "mesh.test",
				GatewayAccount: func(_, name string) string { return name + "tch" }, Data: opatest.Data,
			}
			if of.module != nil {
				text := of.module(r)
				p.Authorization = &v1alpha1.Authorization{Rego: &v1alpha1.AuthorizationRego{}}
				p.Modules = func(v1alpha1.AuthorizationRego) opa.Text { return opa.Text{Text: text} }
			} else {
				p.Authorization = of.says(r)
			}
			policies = append(policies, p)
		}
		out.policies, out.claims = append(out.policies, policies), append(out.claims, one(r, room.Claims, room.Claims, ""))
	}
	out.compile(t)
	return out
}

func (l *law) compile(t *testing.T) {
	t.Helper()
	for i, policies := range l.policies {
		var answers []opatest.Decision
		for _, p := range policies {
			answers = append(answers, opatest.Decide(t, textOf(p)))
			c := opa.Compile(p)
			rules, problems := c.For(called)
			if len(problems)+len(c.Problems) > 0 {
				t.Fatalf("%v %v in\n%s", problems, c.Problems, textOf(p))
			}
			l.said = append(l.said, room.Decided{Section: authorization.Section.Name, Policy: p.Key, Level: room.Level(i), Says: p.Authorization, Law: authorization.RulingOf(rules), Claims: l.claims[i]})
		}
		l.answers = append(l.answers, answers)
	}
}

// textOf is a policy in Rego.
func textOf(p opa.Policy) string {
	if p.Rego != nil {
		return p.Modules(*p.Rego).Text
	}
	return p.Module()
}

var called = opa.Destination{Namespace: "shop", ServiceAccount: "cart", Labels: opatest.Labels}

// lets is what OPA makes of a request: of every level one policy must allow it, and none of any may deny it.
func (l law) lets(t *testing.T, input map[string]any) bool {
	t.Helper()
	for i, level := range l.answers {
		in, input := false, maps.Clone(input)
		if l.claims[i] == "" {
			input["jwt"] = map[string]any{}
		}
		for _, d := range level {
			allow, deny := d.Of(t, input)
			if deny {
				return false
			}
			in = in || allow
		}
		if !in {
			return false
		}
	}
	return true
}

// asks says whether some rule that can hold asks for something: its Rego has the reference.
func (l law) asks(ref string) bool {
	return slices.ContainsFunc(slices.Concat(l.policies...), func(p opa.Policy) bool { return strings.Contains(textOf(p), ref) })
}

// odd says whether a request is of a shape that rules do not take: what they ask for may be another thing to the app.
func (l law) odd(q request, s seen) bool {
	path, _, _ := strings.Cut(s.URI, "?")
	decoded, err := url.PathUnescape(path)
	strange := func(c rune) bool { return strings.ContainsRune("%;#?/\\", c) || c < ' ' || c == 0x7f }
	if (l.asks("input.request.path") || l.asks("input.request.segments")) && (err != nil || strings.ContainsAny(path, "; ") || strings.ContainsFunc(strings.ReplaceAll(decoded, "/", ""), strange)) {
		return true
	}
	if l.asks("input.request.host") && strings.ContainsFunc(s.Host, func(c rune) bool {
		return !strings.ContainsRune("-._:[]", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	}) {
		return true
	}
	if slices.ContainsFunc(q.headers, func(h [2]string) bool { return h[1] != strings.TrimSpace(h[1]) }) && l.asks("input.request.headers") {
		return true
	}
	return slices.ContainsFunc(opatest.Headers, func(name string) bool {
		all := strings.Join(s.Headers[name], ",")
		return l.asks(fmt.Sprintf("input.request.headers[%q]", name)) && strings.ContainsFunc(all, func(c rune) bool { return c == ',' || c < ' ' || c > '~' })
	})
}

var oddPaths = append([]string{"/admin;x", "/open/..;/admin", "/%2561dmin", "/ADMIN", "/users/%61nn", "//admin", "/x/../admin", "/open/./ann", "/admin?x=/open", "/admin#x", "/%2fadmin",
	`/open\..\admin`, "/users/ann/", "/caf\xc3\xa9", "/shop.Cart/Add", "/users/ann/x", "/users", "/"}, nastyPaths...)

func anyRequest(r *rand.Rand, tokens []token) request {
	q := request{
		method: one(r, "GET", "GET", "POST", "PUT"), host: one(r, "cart", "cart", "shop.example.com", "CART:8080", "a.Example.com", "example.com:1", "cart."),
		path: "/" + one(r, opatest.Segments...), token: one(r, tokens...),
	}
	switch r.Intn(4) {
	case 0:
		q.path += "/" + one(r, opatest.Segments...)
	case 1:
		q.path = one(r, oddPaths...)
	}
	for range r.Intn(3) {
		name := one(r, opatest.Headers...)
		q.headers = append(q.headers, [2]string{one(r, name, strings.ToUpper(name)), one(r, append(opatest.Values, "Admin", "user,admin", "", "ten-1", " user", "us\xe9r", "x_y")...)})
	}
	return q
}

// TestAuthorizationDiffers: whatever policies say, a real sidecar lets in what OPA allows by the whole of them, and
// nothing else: requests of HTTP/1.1 and HTTP/2, with strange paths, hosts and headers, with and without
// certificates and tokens, whose claims are missing or of another type.
func TestAuthorizationDiffers(t *testing.T) {
	t.Parallel()
	counts := differs(t, trials{requests: 20_000, each: 60, says: opatest.Authorization, asks: anyRequest})
	for _, some := range []string{"let in", "refused", "odd", "of the proxy", "Native", "CEL"} {
		if counts[some] == 0 {
			t.Errorf("nothing was %s", some)
		}
	}
}

// TestManyRulesDiffer: where there are so many rules that they are found by what a request is, the answers are those of
// all of them.
func TestManyRulesDiffer(t *testing.T) {
	t.Parallel()
	many := func(r *rand.Rand) *v1alpha1.Authorization { return opatest.Many(r, 280) }
	counts := differs(t, trials{requests: 500, each: 250, says: many, asks: amongMany})
	for _, some := range []string{"let in", "refused", "odd", "Native", "CEL", "ALLOW by path", "ALLOW by principal", "ALLOW by header", "DENY by principal"} {
		if counts[some] == 0 {
			t.Errorf("nothing was %s", some)
		}
	}
}

// TestModulesDiffer: the same of modules that people could have written in Rego.
func TestModulesDiffer(t *testing.T) {
	t.Parallel()
	plain := func(r *rand.Rand) string { return opatest.Module(r, true) }
	counts := differs(t, trials{requests: 2_000, each: 40, module: plain, asks: anyRequest})
	for _, some := range []string{"let in", "refused", "odd", "Native", "CEL"} {
		if counts[some] == 0 {
			t.Errorf("nothing was %s", some)
		}
	}
	if counts["OPA"] > 0 {
		t.Errorf("%d ways are not decided by Envoy", counts["OPA"])
	}
}

// TestAskedModulesDiffer: of modules of which Envoy does not decide all, weft authz is asked, and then the same holds; and it
// is not asked of more than it must be.
func TestAskedModulesDiffer(t *testing.T) {
	t.Parallel()
	any := func(r *rand.Rand) string { return opatest.Module(r, false) }
	counts := differs(t, trials{requests: 3_000, each: 40, module: any, asks: anyRequest, checks: true})
	for _, some := range []string{"let in", "refused", "odd", "Native", "CEL", "OPA"} {
		if counts[some] == 0 {
			t.Errorf("nothing was %s", some)
		}
	}
	if answered := counts["let in"] + counts["refused"]; counts["asked"] == 0 || counts["asked"] >= answered {
		t.Errorf("weft authz was asked of %d requests of %d", counts["asked"], answered)
	}
}

// trials are policies, and so many requests of each.
type trials struct {
	requests, each int
	says           func(*rand.Rand) *v1alpha1.Authorization
	module         func(*rand.Rand) string // in place of these; nil: none
	asks           func(*rand.Rand, []token) request
	checks         bool // weft authz is asked what Envoy does not decide
}

// differs counts what became of requests, how rules were decided and by what they are found.
func differs(t *testing.T, of trials) map[string]int {
	t.Helper()
	seed := 1
	if os.Getenv("WEFT_LONG") == "1" {
		of.requests *= 7
	}
	given(t, "WEFT_REQUESTS", &of.requests)
	given(t, "WEFT_SEED", &seed)
	r := rand.New(rand.NewSource(int64(seed)))
	c := startCourt(t)
	tokens := c.tokens(r, 150)
	counts := map[string]int{}
	var weft *checker
	if of.checks {
		weft = c.checked(t)
	}
	for range of.requests / of.each {
		l := draw(t, r, of)
		l.count(counts)
		c.judges(t, l.said)
		for range of.each {
			counts[c.compare(t, l, of.asks(r, tokens), c.anyCaller(r))]++
		}
		if t.Failed() {
			break
		}
	}
	if of.checks {
		counts["asked"] = weft.asked(c)
	}
	t.Log(counts)
	return counts
}

// count counts how rules are decided, and by what they are found.
func (l law) count(counts map[string]int) {
	var levels []opa.Level
	for _, d := range l.said {
		rules := authorization.Rules(d)
		for _, rule := range rules {
			by, _ := rule.By()
			counts[string(by)]++
		}
		if int(d.Level) == len(levels) {
			levels = append(levels, opa.Level{Claims: d.Claims})
		}
		levels[d.Level].Rules = append(levels[d.Level].Rules, rules...)
	}
	filters, _ := opa.Indexed(levels)
	for _, f := range filters {
		for _, i := range f.Indexes {
			counts[fmt.Sprint(f.Action, " by ", i.By)]++
		}
	}
}

// amongMany draws a request that some of many rules may be about.
func amongMany(r *rand.Rand, tokens []token) request {
	q := anyRequest(r, tokens)
	if r.Intn(8) > 0 {
		q.path = one(r, opatest.Paths...) + one(r, "", "", "", "/", "/x", "/x/y", "x", "?x=/p1", "#x")
	}
	if r.Intn(3) == 0 {
		q.headers = append(q.headers, [2]string{"x-tenant", one(r, opatest.Tenants...)})
	}
	return q
}

// given is a number of the environment's, if there is one.
func given(t *testing.T, name string, n *int) {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		var err error
		if *n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// compare asks twice: where no policy holds, for what the app sees, and where they do.
func (c court) compare(t *testing.T, l law, q request, from caller) string {
	t.Helper()
	status, saw := c.ask(t, c.free, q, from)
	got, _ := c.ask(t, c.web, q, from)
	if status != 200 {
		if got == 200 {
			t.Errorf("%v of %v: refused where no policy holds (%d), and let in where they do", q, from, status)
		}
		return "of the proxy"
	}
	now := time.Now().UTC()
	input := saw.input(q, from, int(c.web), now)
	want, odd := l.lets(t, input), l.odd(q, saw)
	switch {
	case got != 200 && got != 403:
		t.Errorf("%v of %v: %d", q, from, got)
	case odd && got == 403:
		return "odd"
	case (got == 200) != want:
		t.Errorf("%v of %v: %d, OPA says %t of %v by\n%s", q, from, got, want, input, l)
	}
	if got == 200 {
		return "let in"
	}
	return "refused"
}

func (l law) String() (out string) {
	for _, p := range slices.Concat(l.policies...) {
		out += textOf(p)
	}
	return out
}

// TestAuthorizationTells: the log of a sidecar says which rule refused a request.
func TestAuthorizationTells(t *testing.T) {
	t.Parallel()
	c := startCourt(t)
	says := roomtest.Written[v1alpha1.Authorization](t, `{rules: [{name: reads, to: [{methods: [GET]}]}, {name: no-admin, action: Deny, to: [{paths: [{exact: /admin}]}]}]}`)
	rules, _ := opa.Compile(opa.Policy{Key: "shop/orders", Authorization: says, TrustDomain: "mesh.test"}).For(called)
	c.judges(t, []room.Decided{{Section: authorization.Section.Name, Policy: "shop/orders", Level: room.AtService, Says: says, Law: authorization.RulingOf(rules)}})
	from := caller{name: opatest.Callers[0], from: "127.0.0.1"}
	for why, q := range map[string]request{
		"shop/orders/no-admin": {method: "GET", host: "cart", path: "/admin"}, "ambiguous": {method: "GET", host: "cart", path: "/a;b"}, "none": {method: "PUT", host: "cart", path: "/"},
	} {
		if status, _ := c.ask(t, c.web, q, from); status != 403 {
			t.Errorf("%v: %d", q, status)
		}
		eventually(t, "the log says "+why, func() bool {
			return tells(c.log.String(), map[string]any{"details": "rbac_access_denied_matched_policy[" + why + "]", "source_principal": opatest.Callers[0]})
		})
	}
}
