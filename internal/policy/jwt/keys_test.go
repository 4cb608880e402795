package jwt

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/jwttest"
)

func set(t *testing.T, keys ...any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestKeySet: keys of all algorithms are taken, and of each its public part alone.
func TestKeySet(t *testing.T) {
	var keys []any
	for _, algorithm := range jwttest.Algorithms {
		key := jwttest.NewKey(t, algorithm, algorithm).Public()
		key["d"], key["p"], key["k"], key["x5c"] = "secret", "secret", "secret", []string{"certificate"}
		bare := maps.Clone(key)
		delete(bare, "alg")
		delete(bare, "use")
		keys = append(keys, key, bare)
	}
	public, problem := KeySet(set(t, keys...))
	if problem != "" {
		t.Fatal(problem)
	}
	for _, part := range []string{"secret", "certificate", `"d"`, `"k"`} {
		if strings.Contains(public, part) {
			t.Errorf("%s is in %s", part, public)
		}
	}
	if n := strings.Count(public, `"kty"`); n != len(keys) {
		t.Errorf("%d of %d keys are taken", n, len(keys))
	}
}

// TestKeysPassedOver: a key that Envoy would refuse, and with it the whole set, is left out.
func TestKeysPassedOver(t *testing.T) {
	good, rsa := jwttest.NewKey(t, "good", "ES256").Public(), jwttest.NewKey(t, "r", "RS256").Public()
	with := func(key map[string]any, name string, value any) map[string]any {
		key = maps.Clone(key)
		key[name] = value
		return key
	}
	for name, key := range map[string]any{
		"no key":                  "x",
		"of no type":              with(good, "kty", nil),
		"symmetric":               map[string]any{"kty": "oct", "k": "c2VjcmV0"},
		"for encryption":          with(good, "use", "enc"),
		"of an unknown curve":     with(good, "crv", "secp256k1"),
		"off its curve":           with(good, "x", jwttest.Encode(make([]byte, 32))),
		"of another algorithm":    with(good, "alg", "ES384"),
		"of no algorithm":         with(rsa, "alg", "none"),
		"of a symmetric one":      with(rsa, "alg", "HS256"),
		"no Base64":               with(rsa, "n", "!"),
		"a short one":             with(rsa, "n", jwttest.Encode(make([]byte, 128))),
		"a long one":              with(rsa, "n", jwttest.Encode([]byte(strings.Repeat("x", 4096)))),
		"of an even exponent":     with(rsa, "e", "BA"),
		"of an exponent of one":   with(rsa, "e", "AQ"),
		"an Ed25519 that is none": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": "AQ"},
		"an X25519":               map[string]any{"kty": "OKP", "crv": "X25519", "x": jwttest.Encode(make([]byte, 32))},
		"of a number for a name":  with(good, "kid", 7),
	} {
		if public, problem := KeySet(set(t, key)); problem == "" || public != "" {
			t.Errorf("%s alone: %q, %q", name, public, problem)
		}
		if public, problem := KeySet(set(t, key, good)); problem != "" || strings.Count(public, `"kty"`) != 1 {
			t.Errorf("%s beside another: %q, %q", name, public, problem)
		}
	}
	for _, text := range []string{"", "x", "[]", "null", "{}", `{"keys": {}}`, `{"keys": null}`, strings.Repeat(" ", MaxKeySet+1)} {
		if public, problem := KeySet(text); problem == "" || public != "" {
			t.Errorf("%.20q: %q, %q", text, public, problem)
		}
	}
}

// FuzzKeySet: whatever a provider answers, what is made of it is made of it once more just so.
func FuzzKeySet(f *testing.F) {
	for _, algorithm := range []string{"RS256", "ES256", "ES512", "EdDSA"} {
		f.Add(jwttest.Set(jwttest.NewKey(f, "a", algorithm)))
	}
	f.Add(`{"keys":[{"kty":"oct"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		public, problem := KeySet(text)
		if (public == "") == (problem == "") {
			t.Fatalf("%q and %q", public, problem)
		}
		if again, bad := KeySet(public); public != "" && (again != public || bad != "") {
			t.Fatalf("%q becomes %q: %s", public, again, bad)
		}
	})
}
