package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/zitadel/oidc/v3/pkg/crypto"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// control is what a story does to the provider.
type control struct {
	store *store
	away  atomic.Bool
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

// unlessAway closes connections instead of answering.
func (c *control) unlessAway(provider http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.away.Load() {
			panic(http.ErrAbortHandler)
		}
		provider.ServeHTTP(w, r)
	})
}
