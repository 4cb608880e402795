// Package rls answers proxies that ask whether a request is let through, by Envoy's protocol of rate limit
// services (RLS).
package rls

import (
	"context"
	"net"
	"time"

	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/grpcserver"
	"github.com/weft-mesh/weft/internal/quota"
	"github.com/weft-mesh/weft/internal/xds"
)

const (
	maxConnections = 20_000
	maxQuestions   = 1_000 // under way on one connection
	maxQuestion    = 1 << 20
)

// Options say how a Server serves. All are required.
type Options struct {
	Table       *quota.Table
	Certificate grpcserver.Certificate
	// Authenticator says whose a bearer token is.
	Authenticator xds.Authenticator
	// Asks says who a proxy is; false refuses it.
	Asks func(xds.Identity) (quota.Who, bool)
}

// Server answers by TLS 1.3 only, and only to proxies that prove who they are.
type Server struct {
	Options
	rlsv3.UnimplementedRateLimitServiceServer
	gate *xds.Gatekeeper
	grpc *grpc.Server
}

// begun is when the clock of all decisions was at 0.
var begun = time.Now()

// NewServer returns a Server that does not listen yet.
func NewServer(o Options) *Server {
	s := &Server{Options: o, gate: xds.NewGatekeeper(o.Authenticator)}
	s.grpc = grpcserver.New(doorman{grpcserver.Credentials(o.Certificate), s}, grpcserver.Limits{Streams: maxQuestions, Message: maxQuestion})
	rlsv3.RegisterRateLimitServiceServer(s.grpc, s)
	return s
}

// Serve answers until Stop is called.
func (s *Server) Serve(l net.Listener) error {
	return grpcserver.Serve(s.grpc, l, maxConnections, "quotas")
}

// Stop has proxies ask no more, and ends.
func (s *Server) Stop() { s.grpc.Stop() }

// ShouldRateLimit says whether one request is let through. How much it counts is not the proxy's to say: one.
func (s *Server) ShouldRateLimit(ctx context.Context, r *rlsv3.RateLimitRequest) (*rlsv3.RateLimitResponse, error) {
	from, _ := peer.FromContext(ctx)
	v, ok := from.AuthInfo.(*visitor)
	if !ok {
		return nil, status.Error(codes.Unauthenticated, "the connection is not by TLS")
	}
	who, err := v.identify(ctx)
	if err != nil {
		refused.Inc()
		return nil, err
	}
	answer := s.Table.Decide(time.Since(begun), r.Domain, who, asked(r))
	count(answer)
	return told(answer), nil
}

// asked reads what a proxy asks: of each limit its policy, its ID, and what it counts by.
func asked(r *rlsv3.RateLimitRequest) []quota.Asked {
	var values []string
	out := make([]quota.Asked, 0, len(r.Descriptors))
	for _, d := range r.Descriptors {
		if len(d.Entries) < 2 {
			continue
		}
		from := len(values)
		for _, e := range d.Entries[2:] {
			values = append(values, e.Value)
		}
		out = append(out, quota.Asked{Policy: d.Entries[0].Value, ID: d.Entries[1].Value, Values: values[from:len(values):len(values)]})
	}
	return out
}
