package envoy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/opa/opatest"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

// proposal is a law of which some policies are in Shadow.
type proposal struct {
	law
	shadow map[string]bool // by the key of the policy
}

func (c court) propose(t *testing.T, r *rand.Rand) proposal {
	t.Helper()
	p := proposal{draw(t, r, trials{says: opatest.Authorization}), map[string]bool{}}
	for i := range p.said {
		p.said[i].Shadow = r.Intn(2) == 0
		p.shadow[p.said[i].Policy] = p.said[i].Shadow
	}
	c.judges(t, p.said)
	return p
}

// lets is what OPA makes of a request by what is enforced, or by all: of every level about which something is said one
// policy must allow it, and none of any may deny it.
func (p proposal) lets(t *testing.T, input map[string]any, all bool) bool {
	t.Helper()
	for i, policies := range p.policies {
		said, in, input := false, false, maps.Clone(input)
		if p.claims[i] == "" {
			input["jwt"] = map[string]any{}
		}
		for j, policy := range policies {
			if p.shadow[policy.Key] && !all {
				continue
			}
			allow, deny := p.answers[i][j].Of(t, input)
			if deny {
				return false
			}
			said, in = true, in || allow
		}
		if said && !in {
			return false
		}
	}
	return true
}

// tries asks twice: where no policy holds, and where some do and some are tried out. want is which results the log may
// have of a request, by its ID.
func (c court) tries(t *testing.T, p proposal, q request, from caller, want map[string][]string) string {
	t.Helper()
	status, saw := c.ask(t, c.free, q, from)
	if status == 0 { // the connection may have come to its end
		status, saw = c.ask(t, c.free, q, from)
	}
	got, there := c.ask(t, c.web, q, from)
	if status != 200 {
		if got == 200 {
			t.Errorf("%v of %v: refused where no policy holds (%d), and let in where they do", q, from, status)
		}
		return "of the proxy"
	}
	input := saw.input(q, from, int(c.web), time.Now().UTC())
	in, enforced := p.lets(t, input, false), p.enforced()
	switch {
	case got == 403 && enforced.odd(q, saw):
		return "odd"
	case (got == 200) != in:
		t.Errorf("%v of %v: %d, OPA says %t of %v by what is enforced of %v\n%s", q, from, got, in, input, p.shadow, p.law)
		return ""
	case !in:
		return "refused"
	}
	id := there.Headers["x-request-id"][0]
	switch would := p.lets(t, input, true); {
	case !slices.Contains(slices.Collect(maps.Values(p.shadow)), true):
		want[id] = nil
		return "not tried"
	case would && p.odd(q, saw):
		want[id] = []string{"allowed", "denied"}
		return "odd, and let in"
	case would:
		want[id] = []string{"allowed"}
		return "would be let in"
	}
	want[id] = []string{"denied"}
	return "would be refused"
}

// enforced is the part of it that is.
func (p proposal) enforced() (out law) {
	for _, policies := range p.policies {
		out.policies = append(out.policies, slices.DeleteFunc(slices.Clone(policies), func(o opa.Policy) bool { return p.shadow[o.Key] }))
	}
	return out
}

// lines are those of a log from a place on, by the ID of the request.
func (l *log) lines(from int) map[string]map[string]any {
	out := map[string]map[string]any{}
	for line := range strings.Lines(l.String()[from:]) {
		object := map[string]any{}
		if json.Unmarshal([]byte(line), &object) == nil && object["request_id"] != nil {
			out[fmt.Sprint(object["request_id"])] = object
		}
	}
	return out
}

// TestAuthorizationShadowDiffers: whatever policies in Shadow say, beside others that are enforced, a real sidecar lets
// in what it lets in without them; and of what gets through its log and its metrics say what OPA makes of it by the
// whole of the policies.
func TestAuthorizationShadowDiffers(t *testing.T) {
	t.Parallel()
	const each = 60
	requests, seed := 3_000, 2
	if os.Getenv("WEFT_LONG") == "1" {
		requests = 20_000
	}
	given(t, "WEFT_REQUESTS", &requests)
	given(t, "WEFT_SEED", &seed)
	r := rand.New(rand.NewSource(int64(seed)))
	c := startCourt(t)
	tokens := c.tokens(r, 150)
	counts, results := map[string]int{}, map[string]int{}
	for range requests / each {
		p, want, from := c.propose(t, r), map[string][]string{}, len(c.log.String())
		for range each {
			counts[c.tries(t, p, anyRequest(r, tokens), c.anyCaller(r), want)]++
		}
		var lines map[string]map[string]any
		eventually(t, "all requests are logged", func() bool {
			lines = c.log.lines(from)
			for id := range want {
				if lines[id] == nil {
					return false
				}
			}
			return true
		})
		for id, any := range want {
			line := lines[id]
			got, is := line["shadow_result"].(string)
			if is != (len(any) > 0) || is && !slices.Contains(any, got) {
				t.Errorf("%v: wanted %q by the whole of %v\n%s", line, any, p.shadow, p.law)
			}
			if policy, named := line["shadow_policy"].(string); named != is || named && !p.shadow[policy] {
				t.Errorf("%v: of %v it names %q", line, p.shadow, policy)
			}
			results[got]++
		}
		if t.Failed() {
			break
		}
	}
	t.Log(counts)
	for _, some := range []string{"would be let in", "would be refused", "refused", "odd", "odd, and let in", "of the proxy", "not tried"} {
		if counts[some] == 0 {
			t.Errorf("nothing was %s", some)
		}
	}
	eventually(t, fmt.Sprintf("the metrics count %v", results), func() bool {
		return shadowCount(c.admin, "denied", "") == results["denied"] && shadowCount(c.admin, "allowed", "") == results["allowed"]
	})
}

// shadowSeries are those of a proxy that count what policies in Shadow are about.
func shadowSeries(admin string) map[string]int {
	out := map[string]int{}
	for line := range strings.Lines(body(admin + "/stats/prometheus")) {
		if name, n, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && strings.HasPrefix(name, "envoy_weft_shadow_") {
			if value, err := strconv.Atoi(n); err == nil {
				out[name] = value
			}
		}
	}
	return out
}

// shadowCount is what a proxy has counted of a result, in series that have some text.
func shadowCount(admin, result, has string) (all int) {
	for name, n := range shadowSeries(admin) {
		if strings.HasPrefix(name, "envoy_weft_shadow_"+result+"_total{") && strings.Contains(name, has) {
			all += n
		}
	}
	return all
}

// ruling is a policy of a level, of which the name says whether it is in Shadow.
func ruling(t *testing.T, at room.Level, key, text string) room.Decided {
	t.Helper()
	a := roomtest.Written[v1alpha1.Authorization](t, text)
	rules, _ := opa.Compile(opa.Policy{Key: key, Authorization: a, TrustDomain: "mesh.test"}).For(called)
	return room.Decided{Section: authorization.Section.Name, Policy: key, Level: at, Says: a, Law: authorization.RulingOf(rules), Claims: room.Claims, Shadow: strings.HasSuffix(key, "-tried")}
}

// TestAuthorizationShadowTells: of what policies in Shadow would refuse, a sidecar's log says which policy would, by
// which of its rules, and who called; its metrics say which policy. What is enforced at other levels holds, and what it
// refuses is not counted.
func TestAuthorizationShadowTells(t *testing.T) {
	t.Parallel()
	c := startCourt(t)
	from := caller{name: opatest.Callers[0], from: "127.0.0.1"}
	c.judges(t, []room.Decided{
		ruling(t, room.AtNamespace, "shop/outer", `{rules: [{name: no-deletes, action: Deny, to: [{methods: [DELETE]}]}, {name: all}]}`),
		ruling(t, room.AtNamespace, "shop/beside-tried", `{rules: [{name: no-posts, action: Deny, to: [{methods: [POST]}]}]}`),
		ruling(t, room.AtService, "shop/orders-tried", `{rules: [{name: reads, to: [{methods: [GET, POST]}]}, {name: no-admin, action: Deny, to: [{paths: [{exact: /admin}]}]}]}`),
		ruling(t, room.AtPort, "shop/port-tried", `{rules: [{name: some, to: [{paths: [{prefix: /open}]}]}]}`),
	})
	for _, q := range []struct{ method, path, policy, rule string }{
		{"GET", "/admin", "shop/orders-tried", "no-admin"}, {"POST", "/open", "shop/beside-tried", "no-posts"}, {"GET", "/open/a;b", "shop/beside-tried", "ambiguous"},
		{"PUT", "/open", "shop/orders-tried", "none"}, {"GET", "/shut", "shop/port-tried", "none"}, {"GET", "/open/a", "", ""},
	} {
		status, saw := c.ask(t, c.web, request{method: q.method, host: "cart", path: q.path}, from)
		if status != 200 {
			t.Fatalf("%v: %d", q, status)
		}
		eventually(t, fmt.Sprint("the log has ", q), func() bool { return c.log.lines(0)[saw.Headers["x-request-id"][0]] != nil })
		line := c.log.lines(0)[saw.Headers["x-request-id"][0]]
		got := fmt.Sprint(line["shadow_result"], line["shadow_section"], line["shadow_policy"], line["shadow_rule"], line["source_principal"], line["policy_result"])
		want := fmt.Sprint("denied", "authorization", q.policy, q.rule, opatest.Callers[0], "allowed")
		if q.policy == "" {
			want = fmt.Sprint("allowed", "authorization", "shop/beside-tried", nil, opatest.Callers[0], "allowed")
		}
		if got != want {
			t.Errorf("%v: %s, wanted %s in %v", q, got, want, line)
		}
	}
	if status, _ := c.ask(t, c.web, request{method: "DELETE", host: "cart", path: "/admin"}, from); status != 403 {
		t.Errorf("what is enforced is not: %d", status)
	}
	for has, n := range map[string]int{`policy="shop/beside-tried"`: 2, `policy="shop/orders-tried"`: 2, `policy="shop/port-tried"`: 1, `destination_service_name="cart"`: 5,
		fmt.Sprintf("source_principal=%q", opatest.Callers[0]): 5, `section="authorization"`: 5, `reporter="destination"`: 5, fmt.Sprintf(`pod_port="%d"`, c.web): 5, "result=": 0} {
		eventually(t, fmt.Sprintf("%d are counted as denied with %s", n, has), func() bool { return shadowCount(c.admin, "denied", has) == n })
	}
	eventually(t, "one is counted as allowed", func() bool {
		return shadowCount(c.admin, "allowed", `policy="shop/beside-tried"`) == 1 && shadowCount(c.admin, "allowed", "") == 1
	})
}

// TestAuthorizationShadowChanges: while a policy goes from Shadow to Enforce and back, connections live on, and nothing
// fails but what it refuses.
func TestAuthorizationShadowChanges(t *testing.T) {
	t.Parallel()
	c := startCourt(t)
	from := caller{name: opatest.Callers[0], from: "127.0.0.1", http2: true}
	policy := func(key string) []room.Decided {
		return []room.Decided{ruling(t, room.AtService, key, `{rules: [{name: reads, to: [{methods: [GET]}]}]}`)}
	}
	for i := range 20 {
		key, refused := "shop/orders-tried", 200
		if i%2 == 1 {
			key, refused = "shop/orders", 403
		}
		commitTo(c.store, c.account, c.judging(policy(key)))
		for _, q := range []struct {
			method string
			status []int
		}{{"GET", []int{200}}, {"PUT", []int{200, 403}}} {
			if got, _ := c.ask(t, c.web, request{method: q.method, host: "cart", path: "/"}, from); got != q.status[0] && got != q.status[len(q.status)-1] {
				t.Fatalf("%s while it changes: %d", q.method, got)
			}
		}
		c.judges(t, policy(key))
		if got, _ := c.ask(t, c.web, request{method: "PUT", host: "cart", path: "/"}, from); got != refused {
			t.Errorf("PUT by %s: %d", key, got)
		}
	}
}
