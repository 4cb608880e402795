package xds

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/grpcserver"
)

// Options say how a Server serves. All but Limits, Log and GRPC are required.
type Options struct {
	Store       *Store
	Facts       *Facts
	Certificate grpcserver.Certificate
	// Authenticator says whose a stream's bearer token is.
	Authenticator Authenticator
	// ScopeOf returns the scope of a proxy; false refuses it. What the proxy's
	// Node message says of itself is never read.
	ScopeOf func(Identity) (string, bool)
	// OnDemand, if set, is told when the first proxy asks for a cluster whose name begins with
	// OnDemandPrefix, and when the last one no longer does. It must not block.
	OnDemand func(name string, wanted bool)
	// Linger, if set, says how long proxies keep a cluster after they have acknowledged that nothing
	// refers to it any more. It must give a name the same answer each time.
	Linger func(cluster string) time.Duration
	Limits Limits
	Log    logr.Logger
	// GRPC are further options, such as interceptors.
	GRPC []grpc.ServerOption
}

// Server is the ADS server of one replica. It serves the delta protocol only, by TLS 1.3
// only, to proxies that prove who they are only.
type Server struct {
	Options
	grpc    *grpc.Server
	gate    *Gatekeeper
	demands *demands
	serving context.Context // ends when the server stops
	stop    context.CancelFunc

	mu      sync.Mutex
	streams map[*session]struct{}
	perPod  map[string]int
}

// session is one stream of a Server.
type session struct {
	who   Identity
	scope string
	stop  chan error
}

var (
	errExpired  = status.Error(codes.Unavailable, "token expired; reconnect")
	errOld      = status.Error(codes.Unavailable, "the stream has reached its age limit; reconnect")
	errStopping = status.Error(codes.Unavailable, "the server is stopping; reconnect")
	errRescoped = status.Error(codes.Unavailable, "this proxy's scope has changed; reconnect")
)

// NewServer returns a Server that does not listen yet.
func NewServer(o Options) *Server {
	o.Limits = o.Limits.orDefaults()
	s := &Server{Options: o, gate: NewGatekeeper(o.Authenticator), streams: map[*session]struct{}{}, perPod: map[string]int{}}
	if o.OnDemand != nil {
		s.demands = &demands{changed: o.OnDemand, num: map[string]int{}}
	}
	s.serving, s.stop = context.WithCancel(context.Background())
	s.grpc = grpcserver.New(grpcserver.Credentials(s.Certificate), grpcserver.Limits{Streams: 4, Message: s.Limits.RequestBytes, Window: 1 << 20, Idle: time.Minute},
		append([]grpc.ServerOption{grpc.ForceServerCodecV2(codec{}), grpc.ReadBufferSize(8 << 10), grpc.WriteBufferSize(16 << 10)}, s.GRPC...)...)
	s.grpc.RegisterService(&grpc.ServiceDesc{
		ServiceName: "envoy.service.discovery.v3.AggregatedDiscoveryService",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "DeltaAggregatedResources", ClientStreams: true, ServerStreams: true,
			Handler: func(_ any, st grpc.ServerStream) error { return s.handle(st) }}},
	}, s)
	return s
}

// Serve accepts proxies until Stop is called.
func (s *Server) Serve(l net.Listener) error {
	return grpcserver.Serve(s.grpc, l, s.Limits.Connections, "xDS")
}

// Stop ends every stream so that its proxy connects to another replica, and waits for
// that until the context ends.
func (s *Server) Stop(ctx context.Context) {
	s.stop()
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
}

// Rescope closes the streams of those of some pods, by their UIDs, whose scope is another one now. They
// connect again and are told only what differs.
func (s *Server) Rescope(pods map[string]struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	connected := false
	for uid := range pods {
		connected = connected || s.perPod[uid] > 0
	}
	if !connected { // as a pod is that has just got its node
		return
	}
	for one := range s.streams {
		if _, is := pods[one.who.PodUID]; !is {
			continue
		}
		if scope, ok := s.ScopeOf(one.who); !ok || scope != one.scope {
			one.end(errRescoped)
		}
	}
}

func (one *session) end(why error) {
	select {
	case one.stop <- why:
	default: // it is ending already
	}
}

func (s *Server) handle(st grpc.ServerStream) error {
	ctx := st.Context()
	who, err := s.gate.Identify(ctx)
	if err != nil {
		s.Log.V(1).Info("refused a proxy", "reason", err.Error())
		return err
	}
	scope, ok := s.ScopeOf(who)
	if !ok {
		return status.Errorf(codes.PermissionDenied, "pod %s is not in the mesh", who)
	}
	one := &session{who, scope, make(chan error, 1)}
	if err := s.enter(one); err != nil {
		return err
	}
	defer s.leave(one)
	return s.stream(ctx, one, st)
}

func (s *Server) stream(ctx context.Context, one *session, st grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := errExpired
	left := time.Until(one.who.Expires)
	if left > s.Limits.StreamAge {
		left, end = s.Limits.StreamAge, errOld
	}
	defer time.AfterFunc(left, func() { one.end(end) }).Stop()
	defer context.AfterFunc(s.serving, func() { one.end(errStopping) })()
	p := &proxy{store: s.Store, read: s.Store.attach(one.scope), maxNames: s.Limits.Names, demands: s.demands, linger: s.Linger}
	defer s.Store.detach(p.read)
	defer func() { s.demands.release(p.subs[clusters]) }()
	p.fact = s.Facts.add(Proxy{Identity: one.who, Scope: one.scope}, func(r Refusal) {
		s.Log.Info("a proxy refused a resource", "proxy", one.who.String(), "type", r.Name.Type, "name", r.Name.Name, "detail", r.Detail)
	})
	defer s.Facts.remove(p.fact)
	return p.serve(ctx, s.Limits.limit(st), one.stop)
}

// enter counts a stream in, or refuses it.
func (s *Server) enter(one *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams) >= s.Limits.Streams {
		return status.Errorf(codes.ResourceExhausted, "this replica serves its limit of %d streams", s.Limits.Streams)
	}
	if s.perPod[one.who.PodUID] >= s.Limits.StreamsPerPod {
		return status.Errorf(codes.ResourceExhausted, "pod %s has its limit of %d streams", one.who, s.Limits.StreamsPerPod)
	}
	s.streams[one] = struct{}{}
	s.perPod[one.who.PodUID]++
	return nil
}

func (s *Server) leave(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, one)
	if s.perPod[one.who.PodUID]--; s.perPod[one.who.PodUID] == 0 {
		delete(s.perPod, one.who.PodUID)
	}
}
