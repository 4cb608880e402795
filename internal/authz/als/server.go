// Package als hears from proxies what they decide, by Envoy's protocol of access log services (ALS).
//
//	a proxy's stream → whose token it shows → its entries → Records of its own workload → Take
//
// A proxy can tell of itself only: whom it is beside its token says, and not its message.
package als

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/grpcserver"
	"github.com/weft-mesh/weft/internal/xds"
)

const (
	maxConnections = 20_000
	maxStreams     = 256 // of a connection, and of all of a pod: a worker of a proxy has one
	maxMessage     = 1 << 20
	// So many entries a second, and so many at once, are taken of a pod.
	entriesPerSecond = 500
	entriesAtOnce    = 2_000
	// A connection begins anew after connectionAge, and so shows a token that is valid then.
	connectionAge = 30 * time.Minute
)

// Options say how a Server serves. All but Claims are required.
type Options struct {
	Certificate grpcserver.Certificate
	// Authenticator says whose a bearer token is.
	Authenticator xds.Authenticator
	// Take gets each Record, and how many bytes it is. It must not wait.
	Take func(r authz.Record, size int)
	// Claims are those that are kept of tokens beside those that policies ask for. nil: none.
	Claims func() []string
}

// Server hears by TLS 1.3 only, and only proxies that prove who they are.
type Server struct {
	Options
	alsv3.UnimplementedAccessLogServiceServer
	gate *xds.Gatekeeper
	grpc *grpc.Server

	mu   sync.Mutex
	pods map[string]*pod
}

// pod is one of which there are streams.
type pod struct {
	streams int
	pace    *rate.Limiter
}

// NewServer returns a Server that does not listen yet.
func NewServer(o Options) *Server {
	s := &Server{Options: o, gate: xds.NewGatekeeper(o.Authenticator), pods: map[string]*pod{}}
	s.grpc = grpcserver.New(grpcserver.Credentials(o.Certificate), grpcserver.Limits{Streams: maxStreams, Message: maxMessage, Age: connectionAge})
	alsv3.RegisterAccessLogServiceServer(s.grpc, s)
	return s
}

// Serve hears until Stop is called.
func (s *Server) Serve(l net.Listener) error {
	return grpcserver.Serve(s.grpc, l, maxConnections, "what proxies tell")
}

// Stop hears no more, and ends.
func (s *Server) Stop() { s.grpc.Stop() }

// StreamAccessLogs takes what one worker of a proxy tells.
func (s *Server) StreamAccessLogs(stream alsv3.AccessLogService_StreamAccessLogsServer) error {
	who, err := s.gate.Identify(stream.Context())
	if err != nil {
		refused.Inc()
		return err
	}
	p, err := s.enter(who)
	if err != nil {
		refused.Inc()
		return err
	}
	defer s.leave(who)
	for {
		message, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return stream.SendAndClose(&alsv3.StreamAccessLogsResponse{})
		case err != nil:
			return ended(err)
		}
		s.hear(who, p, message)
		if !time.Now().Before(who.Expires) {
			return status.Error(codes.Unauthenticated, "the token has expired: begin anew with another")
		}
	}
}

// ended is how a stream did that the proxy has ended, which is no error.
func ended(err error) error {
	if status.Code(err) == codes.Canceled || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (s *Server) enter(who xds.Identity) (*pod, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pods[who.PodUID]
	if p == nil {
		p = &pod{pace: rate.NewLimiter(entriesPerSecond, entriesAtOnce)}
		s.pods[who.PodUID] = p
	}
	if p.streams >= maxStreams {
		return nil, status.Errorf(codes.ResourceExhausted, "pod %s has %d streams already", who, maxStreams)
	}
	p.streams++
	return p, nil
}

func (s *Server) leave(who xds.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pods[who.PodUID]
	if p.streams--; p.streams == 0 {
		delete(s.pods, who.PodUID)
	}
}

// hear takes the entries of one message.
func (s *Server) hear(who xds.Identity, p *pod, m *alsv3.StreamAccessLogsMessage) {
	now := time.Now()
	r := reader{proxy: authz.Proxy{Namespace: who.Namespace, Pod: who.Pod, ServiceAccount: who.ServiceAccount}, now: now.UTC()}
	if s.Claims != nil {
		r.claims = s.Claims()
	}
	for _, e := range m.GetHttpLogs().GetLogEntry() {
		if !p.pace.AllowN(now, 1) {
			hasty.Inc()
			continue
		}
		record, size := r.record(e)
		heard(record)
		s.Take(record, size)
	}
}
