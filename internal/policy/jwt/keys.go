package jwt

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
)

// MaxKeySet is how long a key set may be, in bytes.
const MaxKeySet = 32768

// maxKeys is how many keys of a set are used: each that a token does not name is tried.
const maxKeys = 64

// key is a public key as RFC 7517 and RFC 7518 write it. What else a key has, its private part too, is nobody's
// to see.
type key struct {
	Type  string `json:"kty"`
	ID    string `json:"kid,omitempty"`
	Alg   string `json:"alg,omitempty"`
	Use   string `json:"use,omitempty"`
	Curve string `json:"crv,omitempty"`
	N     string `json:"n,omitempty"`
	E     string `json:"e,omitempty"`
	X     string `json:"x,omitempty"`
	Y     string `json:"y,omitempty"`
}

type keySet struct {
	Keys []key `json:"keys"`
}

// KeySet is a key set with those keys of another one by which Envoy verifies tokens, and nothing that is secret;
// or what is wrong with it: then there is none.
func KeySet(text string) (public, problem string) {
	if len(text) > MaxKeySet {
		return "", fmt.Sprintf("has %d bytes, and may have %d", len(text), MaxKeySet)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return "", "is no JSON Web Key Set: it must be JSON, an object with a list called keys"
	}
	var out keySet
	for _, raw := range set.Keys {
		var k key
		if json.Unmarshal(raw, &k) == nil && len(out.Keys) < maxKeys && k.usable() {
			out.Keys = append(out.Keys, k.public())
		}
	}
	if len(out.Keys) == 0 {
		return "", fmt.Sprintf("has %d keys, none of which can be used: it needs one for signatures, of RSA (2048 bits or more), P-256, P-384, P-521 or Ed25519", len(set.Keys))
	}
	written, err := json.Marshal(out)
	if err != nil {
		panic(err) // strings alone
	}
	return string(written), ""
}

// public leaves out what does not belong to the key's type.
func (k key) public() key {
	out := key{Type: k.Type, ID: k.ID, Alg: k.Alg, Use: k.Use}
	switch k.Type {
	case "RSA":
		out.N, out.E = k.N, k.E
	case "EC":
		out.Curve, out.X, out.Y = k.Curve, k.X, k.Y
	case "OKP":
		out.Curve, out.X = k.Curve, k.X
	}
	return out
}

// algorithms are those by the type, or the curve, of a key; one that says none is for all of its type.
var algorithms = map[string][]string{
	"RSA":     {"", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"},
	"P-256":   {"", "ES256"},
	"P-384":   {"", "ES384"},
	"P-521":   {"", "ES512"},
	"Ed25519": {"", "EdDSA"},
}

var curves = map[string]ecdh.Curve{"P-256": ecdh.P256(), "P-384": ecdh.P384(), "P-521": ecdh.P521()}

// usable says whether Envoy takes a key: one that it did not would have it refuse the whole set.
func (k key) usable() bool {
	if k.Use != "" && k.Use != "sig" {
		return false
	}
	switch k.Type {
	case "RSA":
		n, e := number(k.N), number(k.E)
		return n != nil && e != nil && n.BitLen() >= 2048 && n.BitLen() <= 8192 && e.Bit(0) == 1 && e.BitLen() >= 2 && e.BitLen() <= 33 &&
			slices.Contains(algorithms["RSA"], k.Alg)
	case "EC":
		return k.onCurve() && slices.Contains(algorithms[k.Curve], k.Alg)
	case "OKP":
		x, err := base64.RawURLEncoding.Strict().DecodeString(k.X)
		return err == nil && len(x) == 32 && k.Curve == "Ed25519" && slices.Contains(algorithms[k.Curve], k.Alg)
	}
	return false
}

func (k key) onCurve() bool {
	curve, known := curves[k.Curve]
	x, y := number(k.X), number(k.Y)
	if !known || x == nil || y == nil {
		return false
	}
	size := map[string]int{"P-256": 32, "P-384": 48, "P-521": 66}[k.Curve]
	if x.BitLen() > 8*size || y.BitLen() > 8*size {
		return false
	}
	point := append([]byte{4}, x.FillBytes(make([]byte, size))...)
	_, err := curve.NewPublicKey(append(point, y.FillBytes(make([]byte, size))...))
	return err == nil
}

// number is one in Base64; nil if it is none.
func number(text string) *big.Int {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) == 0 {
		return nil
	}
	return new(big.Int).SetBytes(raw)
}
