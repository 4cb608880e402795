// Package grpcserver makes the gRPC servers that proxies connect to. They talk TLS 1.3 only, and everything that a
// client may take of them has a limit.
package grpcserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// maxHeaders is how long the headers of a call may be, in bytes: twice the longest token.
const maxHeaders = 32 << 10

// Certificate is asked at each handshake, so that a certificate rotates without a restart.
type Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// Credentials are those of a server that shows a certificate.
func Credentials(c Certificate) credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: c})
}

// Limits are those of a server. Streams and Message are required.
type Limits struct {
	Streams uint32        // of a connection, at once
	Message int           // bytes of one from a client
	Window  int32         // bytes that a client may send ahead, of a stream and of a connection; 64 KiB when 0
	Idle    time.Duration // of a connection without a stream, until it is closed; 10 minutes when 0
	Age     time.Duration // of a connection, until it is to begin anew; none when 0
}

// lastWords is what a connection that is to begin anew has left for its streams.
const lastWords = time.Minute

// New returns a server within limits.
func New(c credentials.TransportCredentials, l Limits, more ...grpc.ServerOption) *grpc.Server {
	if l.Window == 0 {
		l.Window = 64 << 10
	}
	if l.Idle == 0 {
		l.Idle = 10 * time.Minute
	}
	return grpc.NewServer(append([]grpc.ServerOption{
		grpc.Creds(c),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.MaxConcurrentStreams(l.Streams),
		grpc.MaxRecvMsgSize(l.Message),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: l.Idle, MaxConnectionAge: l.Age, MaxConnectionAgeGrace: lastWords,
			Time: 30 * time.Second, Timeout: 10 * time.Second,
		}),
		// A fixed window: measuring the bandwidth would cost a ping per message.
		grpc.InitialWindowSize(l.Window), grpc.InitialConnWindowSize(max(l.Window, 1<<20)),
	}, more...)...)
}

// Serve serves until s is stopped, so many connections at once. What it serves is for errors.
func Serve(s *grpc.Server, l net.Listener, connections int, what string) error {
	if err := s.Serve(netutil.LimitListener(l, connections)); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve %s: %w", what, err)
	}
	return nil
}
