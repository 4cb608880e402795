package opa

import (
	"encoding/json"
	"math/rand"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/opa/opatest"
)

// TestWitness: of what is drawn from a seed, a Witness answers as OPA does, each rule holds exactly where what it
// asks does, and a part that fails holds once the request has what the part is said to take.
func TestWitness(t *testing.T) {
	t.Parallel()
	counts := map[string]int{}
	for seed := range int64(150) {
		testify(t, seed, counts)
	}
	for _, attribute := range []string{"request.method", "source.namespace", "source.principal", "jwt.subject", "jwt.claims[groups]", "request.path", "request.headers[x-role]"} {
		if counts[attribute] < 20 {
			t.Errorf("%s failed first, and was mended, %d times only", attribute, counts[attribute])
		}
	}
	t.Log(counts)
}

func testify(t *testing.T, seed int64, counts map[string]int) {
	t.Helper()
	r := rand.New(rand.NewSource(seed))
	p := Policy{Key: "shop/p", Authorization: opatest.Authorization(r), TrustDomain: "mesh.test", GatewayAccount: func(_, name string) string { return name + "tch" }, Data: opatest.Data}
	w, err := p.Witness()
	if err != nil {
		t.Fatalf("%v in\n%s", err, p.Module())
	}
	opa := opatest.Decide(t, p.Module())
	for range 20 {
		in, document, said := w.hear(t, r)
		if allow, deny := opa.Of(t, document); said.Allow != allow || said.Deny != deny {
			t.Fatalf("%v: allow %t, wanted %t, deny %t, wanted %t, by\n%s", document, said.Allow, allow, said.Deny, deny, p.Module())
		}
		counts["requests"]++
		for i, f := range said.Rules {
			if f.Holds != (f.From.Holds() && f.To.Holds() && f.When.Holds()) || f.Holds != (f.Failing() == 0) {
				t.Fatalf("%v: rule %s holds: %t, and of its parts %+v in\n%s", document, f.Name, f.Holds, f, p.Module())
			}
			if part, fails := f.FirstFailing(); fails == f.Holds {
				t.Fatalf("%v: rule %s holds: %t, and %s fails first", document, f.Name, f.Holds, part)
			} else if fails && len(part.Values) > 0 && mends(t, w, in, i, part) {
				counts[part.Attribute]++
			}
		}
	}
}

// hear draws an input, and has a Witness answer.
func (w Witness) hear(t *testing.T, r *rand.Rand) (in Input, document map[string]any, said Testimony) {
	t.Helper()
	in = typed(t, opatest.Input(r))
	in.Destination = Receiver{Namespace: "shop", ServiceAccount: "cart", Labels: opatest.Labels, Port: 8080}
	document, err := in.document()
	if err != nil {
		t.Fatal(err)
	}
	if said, err = w.Of(in); err != nil {
		t.Fatal(err)
	}
	return in, document, said
}

// typed is a document as an Input.
func typed(t *testing.T, document map[string]any) (in Input) {
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

// mends gives the request a value that a part of a rule is said to take, and wants it to hold then; false: nothing is
// known of how a request gets it.
func mends(t *testing.T, w Witness, in Input, rule int, part Part) bool {
	t.Helper()
	value := part.Values[0]
	q := *in.Request
	if claims, is := strings.CutPrefix(part.Attribute, "jwt."); is {
		keys := map[string][]string{"issuer": {"iss"}, "subject": {"sub"}}[claims]
		if keys == nil {
			keys = strings.Split(strings.Trim(strings.TrimPrefix(claims, "claims"), "[]"), "][")
		}
		in.JWT.Claims = with(in.JWT.Claims, keys, value)
	} else if name, is := strings.CutPrefix(part.Attribute, "request.headers["); is {
		q.Headers = map[string]string{strings.TrimSuffix(name, "]"): value}
	} else if at, is := strings.CutPrefix(part.Attribute, "request.segments["); is {
		n, _ := strconv.Atoi(strings.TrimSuffix(at, "]"))
		q.Segments = append(q.Segments[:len(q.Segments):len(q.Segments)], make([]string, 10)...)
		q.Segments[n] = value
	} else {
		field := map[string]*string{
			"request.method": &q.Method, "request.path": &q.Path, "request.host": &q.Host, "source.namespace": &in.Source.Namespace,
			"source.principal": &in.Source.Principal, "source.trustDomain": &in.Source.TrustDomain, "source.serviceAccount": &in.Source.ServiceAccount,
		}[part.Attribute]
		if field == nil {
			return false
		}
		*field = value
	}
	in.Request = &q
	said, err := w.Of(in)
	if err != nil {
		t.Fatal(err)
	}
	f := said.Rules[rule]
	for _, c := range []Clause{f.From, f.To, f.When} {
		for _, way := range c.Ways {
			for _, now := range way {
				if now.Field == part.Field && now.Attribute == part.Attribute && !now.Holds {
					t.Errorf("%s: with that it still is: %s", part, now)
				}
			}
		}
	}
	return true
}

// with is what some claims are with one of them at a path.
func with(claims map[string]any, keys []string, value string) map[string]any {
	out := map[string]any{}
	for k, v := range claims {
		out[k] = v
	}
	if len(keys) == 1 {
		out[keys[0]] = value
		return out
	}
	inner, _ := out[keys[0]].(map[string]any)
	out[keys[0]] = with(inner, keys[1:], value)
	return out
}
