package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/zitadel/oidc/v3/pkg/crypto"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// control is what a story does to the provider.
type control struct {
	store  *store
	issuer string
	away   atomic.Bool
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/mint", c.mint)
	mux.HandleFunc("/rotate", func(http.ResponseWriter, *http.Request) { c.store.rotate() })
	mux.HandleFunc("/revoke", func(http.ResponseWriter, *http.Request) { c.store.revoke() })
	mux.HandleFunc("/away", func(_ http.ResponseWriter, r *http.Request) { c.away.Store(r.URL.Query().Get("is") == "true") })
	return mux
}

// mint signs the claims that the request has, as the provider signs its own.
func (c *control) mint(w http.ResponseWriter, r *http.Request) {
	var claims map[string]any
	if err := json.NewDecoder(r.Body).Decode(&claims); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	signer, err := op.SignerFromKey(signing{c.store.signs()})
	if err == nil {
		var token string
		if token, err = crypto.Sign(claims, signer); err == nil {
			fmt.Fprint(w, token)
			return
		}
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// login is the page where people log in: everybody is the test user, without a password.
func (c *control) login(back func(context.Context, string) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("authRequestID")
		if err := c.store.CheckUsernamePassword("test-user2", "verysecure", id); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, back(op.ContextWithIssuer(r.Context(), c.issuer), id), http.StatusFound)
	}
}

// unlessAway closes connections instead of answering.
func (c *control) unlessAway(provider http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.away.Load() {
			panic(http.ErrAbortHandler)
		}
		provider.ServeHTTP(w, r)
	})
}
