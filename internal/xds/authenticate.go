package xds

import (
	"context"
	"fmt"
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

// gatekeeper lets few tokens be reviewed at once, so that a crowd of clients does not
// become a crowd at the API server.
type gatekeeper struct {
	who  Authenticator
	seat chan struct{}
}

func newGatekeeper(who Authenticator) *gatekeeper {
	return &gatekeeper{who, make(chan struct{}, reviewsAtATime)}
}

func (g *gatekeeper) identify(ctx context.Context) (Identity, error) {
	token, err := bearer(ctx)
	if err != nil {
		return Identity{}, status.Error(codes.Unauthenticated, err.Error())
	}
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

func bearer(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) != 1 {
		return "", fmt.Errorf("the request has %d authorization headers; want one with a bearer token", len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", fmt.Errorf("the authorization header has no bearer token")
	}
	if len(token) > maxToken {
		return "", fmt.Errorf("the token is longer than %d bytes", maxToken)
	}
	return token, nil
}
