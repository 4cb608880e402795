package replay

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/opa"
)

func says(t *testing.T, text string) *v1alpha1.Authorization {
	t.Helper()
	out := &v1alpha1.Authorization{}
	if err := yaml.UnmarshalStrict([]byte(text), out); err != nil {
		t.Fatal(err)
	}
	return out
}

const (
	readers = `rules: [{name: reads, from: [{serviceAccount: {namespace: shop, name: web}}], to: [{methods: [GET]}]}]`
	writers = `rules: [{name: writes, from: [{serviceAccount: {namespace: shop, name: web}}], to: [{methods: [GET, POST]}]}]`
	nobody  = `{}`
)

// decided is a decision by policies of the level port; the second is in Shadow.
func decided(t *testing.T, id, method string, v authz.Verdict, policies ...*v1alpha1.Authorization) authz.Entry {
	t.Helper()
	from, _ := opa.SourceOf("spiffe://mesh.test/ns/shop/sa/web")
	r := authz.Record{
		ID: id, Verdict: v, Section: "authorization", Proxy: authz.Proxy{Namespace: "shop", ServiceAccount: "cart", Pod: "cart-0"},
		Law: &authz.Law{TrustDomain: "mesh.test"},
		Input: opa.Input{
			Source: from, Request: opa.RequestOf(method, "/a", "cart", nil),
			Destination: opa.Receiver{Namespace: "shop", ServiceAccount: "cart", Port: 8080},
		},
	}
	for i, p := range policies {
		one := authz.Policy{Key: fmt.Sprint("shop/p", i), Digest: authz.Digest(p), Shadow: i == 1}
		r.Law.Levels = append(r.Law.Levels, authz.Level{Name: "port", Policies: []authz.Policy{one}})
	}
	return authz.Entry{Decision: &r}
}

func known(p *v1alpha1.Authorization) authz.Entry {
	return authz.Entry{Policy: &authz.Text{Digest: authz.Digest(p), Authorization: p}}
}

func replayed(t *testing.T, replaced map[string]*v1alpha1.Authorization, entries ...authz.Entry) Outcome {
	t.Helper()
	p := New(replaced)
	for i, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Take(i+1, line); err != nil {
			t.Fatal(err)
		}
	}
	return p.Outcome()
}

// TestReplay: old decisions by new policies: some are denied now, some allowed, the others are the same.
func TestReplay(t *testing.T) {
	t.Parallel()
	old, wider := says(t, readers), says(t, writers)
	got := replayed(t, map[string]*v1alpha1.Authorization{"shop/p0": wider, "shop/new": wider}, known(old),
		decided(t, "1", "GET", authz.Allowed, old), decided(t, "2", "POST", authz.Denied, old), decided(t, "3", "POST", authz.Denied, old), decided(t, "4", "PUT", authz.Denied, old))
	if got.Decisions != 4 || got.Same != 2 || len(got.Changed) != 1 || fmt.Sprint(got.Unasked) != "[shop/new]" {
		t.Fatalf("%+v", got)
	}
	if c := got.Changed[0]; c.Now != authz.Allowed || c.Count != 2 || c.Method != "POST" || c.Called != "shop/cart" || c.Port != 8080 || c.ID != "3" {
		t.Errorf("%+v", c)
	}
	got = replayed(t, map[string]*v1alpha1.Authorization{"shop/p0": says(t, nobody)}, known(old), decided(t, "1", "GET", authz.Allowed, old))
	if len(got.Changed) != 1 || got.Changed[0].Now != authz.Denied {
		t.Errorf("%+v", got)
	}
	var text strings.Builder
	if err := got.Write(&text); err != nil || !strings.Contains(text.String(), "denied now, 1 times: GET shop/cart:8080") {
		t.Error(text.String(), err)
	}
}

// TestReplayShadow: a policy in Shadow that is replaced is enforced, beside those of its level: it opens what they shut.
func TestReplayShadow(t *testing.T) {
	t.Parallel()
	old, tried := says(t, readers), says(t, nobody)
	post := decided(t, "1", "POST", authz.Denied, old, tried)
	if got := replayed(t, map[string]*v1alpha1.Authorization{"shop/p1": says(t, writers)}, known(old), known(tried), post); len(got.Changed) != 1 || got.Changed[0].Now != authz.Allowed {
		t.Errorf("%+v", got)
	}
}

// TestUntold: what cannot be decided anew is not, and it is said why.
func TestUntold(t *testing.T) {
	t.Parallel()
	old := says(t, readers)
	cut, byToken, odd := decided(t, "1", "GET", authz.Allowed, old), decided(t, "2", "GET", authz.Denied, old), decided(t, "3", "GET", authz.Denied, old)
	cut.Decision.Cut, byToken.Decision.Section, odd.Decision.Rule = []string{"request.path"}, "jwt", opa.Ambiguous
	got := replayed(t, map[string]*v1alpha1.Authorization{"shop/p9": old}, cut, byToken, odd)
	if len(got.Untold) != 3 || got.Same != 0 {
		t.Errorf("%+v", got)
	}
	if got = replayed(t, map[string]*v1alpha1.Authorization{"shop/p9": says(t, writers)}, decided(t, "4", "GET", authz.Allowed, old)); len(got.Untold) != 1 {
		t.Errorf("what the policy said is not in the log: %+v", got)
	}
	asks := says(t, `rules: [{name: r, to: [{headers: [{name: x-role}]}]}]`)
	got = replayed(t, map[string]*v1alpha1.Authorization{"shop/p0": asks}, known(old), decided(t, "5", "GET", authz.Allowed, old))
	if len(got.Untold) != 1 || len(got.Changed) != 0 {
		t.Errorf("a header that is not recorded: %+v", got)
	}
}
