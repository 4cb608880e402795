package oidc

import (
	"bytes"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/weft-mesh/weft/internal/policy/room"
)

// PublicAuthorities are those that are publicly trusted, in PEM: Mozilla's list, but for those that it does not trust
// for all that they vouch for.
var PublicAuthorities = sync.OnceValue(func() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			room.AddCertificate(&out, root.Certificate)
		}
	}
	return out.Bytes()
})

func checkAuthorities(text string) string {
	if _, problem := room.Authorities([]byte(text)); problem != "" {
		return "has " + problem
	}
	return ""
}
