// Command provider is an OpenID provider, zitadel/oidc's, for the stories about tokens. It is a module of its own, so
// that nothing else needs what it needs.
//
//	:8080  the provider: /oauth/token, /keys, /.well-known/openid-configuration
//	:8081  what a story does to it: /mint, /rotate, /revoke, /away
package main

import (
	"log"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	issuer := os.Getenv("ISSUER")
	s := newStore(issuer)
	provider, err := op.NewProvider(&op.Config{CryptoKey: [32]byte{1}}, s, op.StaticIssuer(issuer), op.WithAllowInsecure())
	if err != nil {
		log.Fatal(err)
	}
	c := &control{store: s}
	go serve(":8081", c.handler())
	serve(":8080", c.unlessAway(provider))
}

func serve(address string, handler http.Handler) {
	server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
