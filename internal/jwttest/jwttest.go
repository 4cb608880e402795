// Package jwttest makes keys and tokens for tests, as a provider does.
package jwttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"hash"
	"maps"
	"math/big"
	"strings"
	"testing"

	_ "crypto/sha256" // by which tokens are signed
	_ "crypto/sha512"
)

// Algorithms are all that tokens may be signed with.
var Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Key signs tokens.
type Key struct {
	ID, Algorithm string
	private       crypto.Signer
}

// Claims are what a token says.
type Claims map[string]any

// With are the same claims with some others, or without those that are nil.
func (c Claims) With(more Claims) Claims {
	out := maps.Clone(c)
	maps.Copy(out, more)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	return out
}

// NewKey makes a key for an algorithm.
func NewKey(t testing.TB, id, algorithm string) Key {
	t.Helper()
	var private crypto.Signer
	var err error
	switch algorithm {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Key{id, algorithm, private}
}

// Public is the key as a key set has it.
func (k Key) Public() map[string]any {
	out := map[string]any{"kid": k.ID, "alg": k.Algorithm, "use": "sig"}
	switch public := k.private.Public().(type) {
	case *rsa.PublicKey:
		out["kty"], out["n"], out["e"] = "RSA", Encode(public.N.Bytes()), Encode(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, _ := public.Bytes() // of a curve that has them
		half := (len(point) - 1) / 2
		out["kty"], out["crv"], out["x"], out["y"] = "EC", public.Params().Name, Encode(point[1:1+half]), Encode(point[1+half:])
	case ed25519.PublicKey:
		out["kty"], out["crv"], out["x"] = "OKP", "Ed25519", Encode(public)
	}
	return out
}

// Set is a key set.
func Set(keys ...Key) string {
	all := []any{}
	for _, k := range keys {
		all = append(all, k.Public())
	}
	return text(map[string]any{"keys": all})
}

// Token is one that says something, signed.
func (k Key) Token(c Claims) string {
	return k.Headed(map[string]any{"alg": k.Algorithm, "kid": k.ID, "typ": "JWT"}, c)
}

// Headed is a Token with another header.
func (k Key) Headed(header map[string]any, c Claims) string {
	signed := Encode([]byte(text(header))) + "." + Encode([]byte(text(c)))
	return signed + "." + Encode(k.sign([]byte(signed)))
}

func (k Key) sign(message []byte) []byte {
	hashed, sum := hashOf(k.Algorithm)
	if sum != nil {
		sum.Write(message)
		message = sum.Sum(nil)
	}
	switch private := k.private.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, message)
		if err != nil {
			panic(err)
		}
		size := (private.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	default:
		var options crypto.SignerOpts = hashed
		if strings.HasPrefix(k.Algorithm, "PS") {
			options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hashed}
		}
		signature, err := private.Sign(rand.Reader, message, options)
		if err != nil {
			panic(err)
		}
		return signature
	}
}

func hashOf(algorithm string) (crypto.Hash, hash.Hash) {
	switch algorithm[2:] {
	case "256":
		return crypto.SHA256, crypto.SHA256.New()
	case "384":
		return crypto.SHA384, crypto.SHA384.New()
	case "512":
		return crypto.SHA512, crypto.SHA512.New()
	}
	return 0, nil // EdDSA signs what it is given
}

// Encode is Base64 as tokens have it.
func Encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}
