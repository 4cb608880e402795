// Command provider is an OpenID provider, zitadel/oidc's, for the stories about tokens. It is a module of its own, so
// that nothing else needs what it needs.
//
//	:8080  the provider: /authorize, /oauth/token, /keys, /.well-known/openid-configuration; who is sent to its page
//	       to log in is the test user at once
//	:8081  what a story does to it: /mint, /rotate, /revoke, /away
package main

import (
	"cmp"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	issuer := os.Getenv("ISSUER")
	s := newStore(issuer)
	if id := os.Getenv("CLIENT_ID"); id != "" {
		storage.RegisterClients(storage.WebClient(id, os.Getenv("CLIENT_SECRET"), strings.Fields(os.Getenv("REDIRECT_URIS"))...))
	}
	config := &op.Config{CryptoKey: [32]byte{1}, CodeMethodS256: true, GrantTypeRefreshToken: true, DefaultLogoutRedirectURI: "/"}
	provider, err := op.NewProvider(config, s, op.StaticIssuer(issuer), op.WithAllowInsecure())
	if err != nil {
		log.Fatal(err)
	}
	c := &control{store: s, issuer: issuer}
	mux := http.NewServeMux()
	mux.HandleFunc("/login/username", c.login(op.AuthCallbackURL(provider)))
	mux.Handle("/", provider)
	go serve(cmp.Or(os.Getenv("CONTROL_ADDRESS"), ":8081"), c.handler())
	serve(cmp.Or(os.Getenv("ADDRESS"), ":8080"), c.unlessAway(mux))
}

func serve(address string, handler http.Handler) {
	server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
