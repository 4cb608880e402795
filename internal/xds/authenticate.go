package xds

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Identity is who a proxy's token says it is.
type Identity struct {
	Namespace      string
	ServiceAccount string
	Pod            string
	PodUID         string
	Node           string    // "" when the API server does not bind tokens to nodes
	Expires        time.Time // when the token does
}

// String names the proxy in logs.
func (i Identity) String() string { return i.Namespace + "/" + i.Pod }

// Authenticator says whose a token is. Its error is told to the client: it must not
// contain the token.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (Identity, error)
}

const (
	maxToken       = 16 << 10
	reviewTimeout  = 10 * time.Second
	reviewsAtATime = 32
)

// Gatekeeper lets few tokens be reviewed at once, so that a crowd of clients does not
// become a crowd at the API server.
type Gatekeeper struct {
	who  Authenticator
	seat chan struct{}
}

// NewGatekeeper returns one that asks an Authenticator.
func NewGatekeeper(who Authenticator) *Gatekeeper {
	return &Gatekeeper{who, make(chan struct{}, reviewsAtATime)}
}

// Identify says who makes a request, by its bearer token. Its error is a gRPC status.
func (g *Gatekeeper) Identify(ctx context.Context) (Identity, error) {
	token, err := Bearer(ctx)
	if err != nil {
		return Identity{}, err
	}
	return g.Review(ctx, token)
}

// Review says whose a token is, unless it has expired. Its error is a gRPC status.
func (g *Gatekeeper) Review(ctx context.Context, token string) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	select {
	case g.seat <- struct{}{}:
		defer func() { <-g.seat }()
	case <-ctx.Done():
		return Identity{}, status.Error(codes.Unavailable, "too many tokens are being reviewed; try again")
	}
	who, err := g.who.Authenticate(ctx, token)
	if err != nil {
		return Identity{}, status.Error(codes.Unauthenticated, err.Error())
	}
	if !who.Expires.After(time.Now()) {
		return Identity{}, status.Error(codes.Unauthenticated, "the token has expired")
	}
	return who, nil
}

// Bearer is the bearer token of a request. Its error is a gRPC status.
func Bearer(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) != 1 {
		return "", status.Errorf(codes.Unauthenticated, "the request has %d authorization headers; want one with a bearer token", len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", status.Error(codes.Unauthenticated, "the authorization header has no bearer token")
	}
	if len(token) > maxToken {
		return "", status.Errorf(codes.Unauthenticated, "the token is longer than %d bytes", maxToken)
	}
	return token, nil
}
