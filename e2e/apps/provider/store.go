package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strconv"
	"sync"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// store is the example's, in memory, with keys that change and tokens of a service that say whom they are for.
type store struct {
	*storage.Storage
	mu   sync.Mutex
	keys []key // the last one signs
	made int
}

func newStore(issuer string) *store {
	s := &store{Storage: storage.NewStorage(storage.NewUserStore(issuer))}
	s.rotate()
	return s
}

// rotate has tokens signed by another key from now on; those before stay published.
func (s *store) rotate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // there are no random numbers
	}
	s.made++
	s.keys = append(s.keys, key{"key-" + strconv.Itoa(s.made), private})
}

// revoke publishes the last key only.
func (s *store) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = s.keys[len(s.keys)-1:]
}

func (s *store) signs() key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1]
}

// SigningKey is the one that tokens are signed by.
func (s *store) SigningKey(context.Context) (op.SigningKey, error) { return signing{s.signs()}, nil }

// SignatureAlgorithms are those of the keys.
func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

// KeySet is what is published.
func (s *store) KeySet(context.Context) (out []op.Key, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		out = append(out, public{k})
	}
	return out, nil
}

// ClientCredentials has a service's tokens be JWTs.
func (s *store) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	client, err := s.Storage.ClientCredentials(ctx, id, secret)
	return service{client}, err
}

// ClientCredentialsTokenRequest has them be for the shop.
func (s *store) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &oidc.JWTTokenRequest{Subject: id, Audience: []string{"shop"}, Scopes: scopes}, nil
}

type service struct{ op.Client }

func (service) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

// key is a pair, of which the one half signs and the other is published.
type key struct {
	id      string
	private *ecdsa.PrivateKey
}

type signing struct{ key }

func (k signing) ID() string                                  { return k.id }
func (k signing) Key() any                                    { return k.private }
func (k signing) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }

type public struct{ key }

func (k public) ID() string                         { return k.id }
func (k public) Key() any                           { return &k.private.PublicKey }
func (k public) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k public) Use() string                        { return "sig" }
