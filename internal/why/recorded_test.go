package why

import (
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/opa"
)

func saysThat(t *testing.T, text string) *v1alpha1.Authorization {
	t.Helper()
	out := &v1alpha1.Authorization{}
	if err := yaml.UnmarshalStrict([]byte(text), out); err != nil {
		t.Fatal(err)
	}
	return out
}

// recordBy is a POST that was denied, by a policy that is enforced and one in Shadow.
func recordBy(enforced, tried *v1alpha1.Authorization) (r authz.Record, said map[string]*v1alpha1.Authorization) {
	from, _ := opa.SourceOf("spiffe://mesh.test/ns/shop/sa/web")
	r = authz.Record{
		ID: "id-1", Time: time.Date(2026, 8, 1, 9, 0, 0, 0, time.UTC), Verdict: authz.Denied, Status: 403,
		Details: "rbac_access_denied_matched_policy[none]", Section: "authorization",
		Proxy: authz.Proxy{Namespace: "shop", ServiceAccount: "orders", Pod: "orders-0"},
		Law: &authz.Law{TrustDomain: "mesh.test", Levels: []authz.Level{
			{Name: "port", Claims: "claims", Policies: []authz.Policy{{Key: "shop/callers", Digest: authz.Digest(enforced)}}},
			{Name: "serviceaccount", Policies: []authz.Policy{{Key: "shop/tried", Digest: authz.Digest(tried), Shadow: true}}},
		}},
		Input: opa.Input{
			Source: from, Request: opa.RequestOf("POST", "/orders/7", "orders", nil),
			Destination: opa.Receiver{Namespace: "shop", ServiceAccount: "orders", Port: 8080},
		},
		Tokens: map[string]map[string]any{"claims": {"tenant": "ten"}},
	}
	return r, map[string]*v1alpha1.Authorization{authz.Digest(enforced): enforced, authz.Digest(tried): tried}
}

func told(t *testing.T, e Explanation) string {
	t.Helper()
	var out strings.Builder
	if err := (Answer{Explanations: []Explanation{e}}).Write(&out, false); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestRecordedDenial: of a decision the rule that came nearest is told, with what of the request it does not take.
func TestRecordedDenial(t *testing.T) {
	t.Parallel()
	r, said := recordBy(saysThat(t, `rules: [{name: reads, to: [{methods: [GET]}]}, {name: tenants, to: [{methods: [POST]}], when: [{attribute: "jwt.claims[tenant]", operator: In, values: [eleven]}]}]`), saysThat(t, `{}`))
	e, err := Recorded(r, said)
	if err != nil {
		t.Fatal(err)
	}
	text := told(t, e)
	for _, want := range []string{
		"Denied (403): spiffe://mesh.test/ns/shop/sa/web -> pods of ServiceAccount shop/orders, port 8080: POST /orders/7",
		"no  authorization, port: no rule of MeshPolicy shop/callers allows it",
		"request.method is POST, the rule takes GET", "jwt.claims[tenant] is ten, the rule takes eleven", "id-1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "Shadow") || strings.Contains(text, "otherwise") {
		t.Errorf("it says too much:\n%s", text)
	}
}

// TestRecordedRule: a rule that denied is named.
func TestRecordedRule(t *testing.T) {
	t.Parallel()
	r, said := recordBy(saysThat(t, `rules: [{name: all}, {name: never, action: Deny, to: [{methods: [POST]}]}]`), saysThat(t, `{}`))
	r.Rule = "shop/callers/never"
	e, err := Recorded(r, said)
	if err != nil || e.Allowed || e.Checks[0].Rule != "shop/callers/never" {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestRecordedShadow: what a policy in Shadow would have denied was let in.
func TestRecordedShadow(t *testing.T) {
	t.Parallel()
	r, said := recordBy(saysThat(t, `rules: [{name: all}]`), saysThat(t, `rules: [{name: reads, to: [{methods: [GET]}]}]`))
	r.Verdict, r.Status, r.Section = authz.Allowed, 200, ""
	r.Shadow = &authz.Shadow{Result: authz.Denied, Section: "authorization", Policy: "shop/tried", Rule: "none"}
	e, err := Recorded(r, said)
	if err != nil {
		t.Fatal(err)
	}
	text := told(t, e)
	for _, want := range []string{"Allowed: ", "ok  authorization, port: rule all", "no  authorization, ServiceAccount, in Shadow", "MeshPolicy shop/tried, in Shadow, would have denied it"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
}

// TestRecordedForgotten: where it is not known what a policy said nothing is evaluated, and that is said; of what other
// sections denied, the proxy's words are.
func TestRecordedForgotten(t *testing.T) {
	t.Parallel()
	r, _ := recordBy(saysThat(t, `{}`), saysThat(t, `{}`))
	e, err := Recorded(r, nil)
	if err != nil || e.Allowed || len(e.Checks) > 0 || !strings.Contains(strings.Join(e.Notes, "\n"), "not known any more") {
		t.Errorf("%+v, %v", e, err)
	}
	r.Law, r.Section, r.Details, r.Status = nil, "jwt", "jwt_authn_access_denied{Jwt_is_missing}", 401
	if e, err := Recorded(r, nil); err != nil || e.Allowed || e.Status != 401 || !strings.Contains(e.Checks[0].Why, "Jwt_is_missing") {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestRecordedOtherwise: where policies say something else than the proxy did, that is said.
func TestRecordedOtherwise(t *testing.T) {
	t.Parallel()
	r, said := recordBy(saysThat(t, `rules: [{name: all}]`), saysThat(t, `{}`))
	e, err := Recorded(r, said)
	if err != nil || e.Allowed || !strings.Contains(strings.Join(e.Notes, "\n"), "should have been let in") {
		t.Errorf("%+v, %v", e, err)
	}
}
