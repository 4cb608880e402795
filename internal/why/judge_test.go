package why

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"testing"

	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/opa/opatest"
)

// TestJudge: of policies of some levels and calls, drawn from a seed, what is judged is what OPA says: none of any
// level denies, and one of each allows. Where a level allows nothing the nearest of its rules is told, and what the
// rule would take.
func TestJudge(t *testing.T) {
	t.Parallel()
	counts := map[string]int{}
	for seed := range int64(120) {
		judged(t, rand.New(rand.NewSource(seed)), counts)
	}
	for _, what := range []string{"allowed", "denied by a rule", "denied by default", "a level without a token"} {
		if counts[what] < 50 {
			t.Errorf("%s: %d times only, of %v", what, counts[what], counts)
		}
	}
	t.Log(counts)
}

func judged(t *testing.T, r *rand.Rand, counts map[string]int) {
	t.Helper()
	var levels []Level
	var answers [][]opatest.Decision
	for i := range 1 + r.Intn(2) {
		l := Level{Name: fmt.Sprint(i), Claims: []string{"claims", "claims", "claims/port", ""}[r.Intn(4)]}
		var of []opatest.Decision
		for j := range 1 + r.Intn(2) {
			p := opa.Policy{Key: fmt.Sprintf("shop/p%d-%d", i, j), Authorization: opatest.Authorization(r), TrustDomain: "mesh.test", GatewayAccount: func(_, name string) string { return name + "tch" }, Data: opatest.Data}
			l.Policies, of = append(l.Policies, p), append(of, opatest.Decide(t, p.Module()))
		}
		levels, answers = append(levels, l), append(answers, of)
	}
	court := NewCourt(levels)
	for range 25 {
		document := opatest.Input(r)
		document["destination"] = map[string]any{"namespace": "shop", "service_account": "cart", "labels": opatest.Labels, "port": 8080}
		c := Call{Input: typed(t, document), Tokens: map[string]map[string]any{"claims": opatest.Claims(r)}}
		if r.Intn(2) == 0 {
			c.Tokens["claims/port"] = opatest.Claims(r)
		}
		got, err := court.Judge(c)
		if err != nil {
			t.Fatal(err)
		}
		counts["calls"]++
		want := lets(t, levels, answers, document, c.Tokens, counts)
		if got.Allowed != want {
			t.Fatalf("judged %t, wanted %t: %+v of %v", got.Allowed, want, got, c)
		}
		for _, l := range got.Levels {
			if tells(t, l); !l.Allowed && got.Allowed {
				t.Fatalf("level %s allows nothing, and all is allowed: %+v", l.Level, got)
			}
		}
		switch {
		case want:
			counts["allowed"]++
		case len(got.Denials) > 0:
			counts["denied by a rule"]++
		default:
			counts["denied by default"]++
		}
	}
}

// tells wants misses to be in order, and each to have a part that fails.
func tells(t *testing.T, l LevelRuling) {
	t.Helper()
	last := 0
	for _, m := range l.Misses {
		if m.Failing() < last || m.First == nil || m.First.Holds || m.First.Takes == "" && m.First.Problem == "" {
			t.Fatalf("after one that lacks %d: %+v", last, m)
		}
		last = m.Failing()
	}
}

// lets is what OPA says of the whole.
func lets(t *testing.T, levels []Level, answers [][]opatest.Decision, document map[string]any, tokens map[string]map[string]any, counts map[string]int) bool {
	t.Helper()
	all := true
	for i, l := range levels {
		in, of := false, maps.Clone(document)
		of["jwt"] = map[string]any{}
		if claims := tokens[l.Claims]; claims != nil {
			of["jwt"] = map[string]any{"claims": claims}
		} else {
			counts["a level without a token"]++
		}
		for _, d := range answers[i] {
			allow, deny := d.Of(t, of)
			if deny {
				return false
			}
			in = in || allow
		}
		all = all && in
	}
	return all
}

// typed is a document as an Input.
func typed(t *testing.T, document map[string]any) (in opa.Input) {
	t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &in); err != nil {
		t.Fatal(err)
	}
	return in
}

// TestRecorded: a Call that was written down is judged as it was.
func TestRecorded(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewSource(1))
	for range 30 {
		p := opa.Policy{Key: "shop/p", Authorization: opatest.Authorization(r), TrustDomain: "mesh.test", GatewayAccount: func(_, name string) string { return name }, Data: opatest.Data}
		c := Call{Input: typed(t, opatest.Input(r)), Tokens: map[string]map[string]any{"claims": opatest.Claims(r)}}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var again Call
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		levels := []Level{{Name: "port", Policies: []opa.Policy{p}, Claims: "claims"}}
		court := NewCourt(levels)
		one, err := court.Judge(c)
		if err != nil {
			t.Fatal(err)
		}
		other, err := court.Judge(again)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := fmt.Sprintf("%+v", one.Denials), fmt.Sprintf("%+v", other.Denials); one.Allowed != other.Allowed || len(one.Denials) != len(other.Denials) {
			t.Errorf("%s\n%s", a, b)
		}
	}
}
