package oidc

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const certificateBlock = "CERTIFICATE"

// PublicAuthorities are those that are publicly trusted, in PEM: Mozilla's list, but for those that it does not trust
// for all that they vouch for.
var PublicAuthorities = sync.OnceValue(func() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&out, &pem.Block{Type: certificateBlock, Bytes: root.Certificate}) // a Buffer takes all
		}
	}
	return out.Bytes()
})

// Authorities are the certificates of a text, each once more and nothing else, which Envoy would refuse.
func Authorities(text string) []byte {
	var out bytes.Buffer
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == certificateBlock {
			_ = pem.Encode(&out, &pem.Block{Type: certificateBlock, Bytes: block.Bytes}) // a Buffer takes all
		}
	}
	return out.Bytes()
}

func checkAuthorities(text string) string {
	n := 0
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != certificateBlock {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return "has what is no certificate: " + err.Error()
		}
		n++
	}
	if n == 0 {
		return "has no certificate in PEM"
	}
	return ""
}
