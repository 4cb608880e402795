package xds

import (
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Limits bound what proxies can ask of a Server. A field that is zero has its default.
type Limits struct {
	Connections   int           // open at once; default twice Streams
	Streams       int           // open at once; default 10,000
	StreamsPerPod int           // open at once of one pod; default 4
	StreamAge     time.Duration // after which a stream is closed though its token is still good; default 1 h
	RequestBytes  int           // size of one request; default 16 MiB
	Names         int           // subscribed to by one stream, of all types; default 100,000
	Requests      float64       // a second, lasting, of one stream; default 200. Faster ones are slowed down
	Burst         int           // requests at once; default 2,000
	Patience      int           // requests that may be slowed down, without a rest between, before the stream is closed; default 2,000
}

func (l Limits) orDefaults() Limits {
	def(&l.Streams, 10_000)
	def(&l.Connections, 2*l.Streams)
	def(&l.StreamsPerPod, 4)
	def(&l.StreamAge, time.Hour)
	def(&l.RequestBytes, 16<<20)
	def(&l.Names, 100_000)
	def(&l.Requests, 200)
	def(&l.Burst, 2_000)
	def(&l.Patience, 2_000)
	return l
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// limited is a stream whose requests are slowed down, and ended if that does not help.
type limited struct {
	grpc.ServerStream
	rate     *rate.Limiter
	patience int
	slowed   int // requests since it last was at rest
}

func (l Limits) limit(st grpc.ServerStream) *limited {
	return &limited{ServerStream: st, rate: rate.NewLimiter(rate.Limit(l.Requests), l.Burst), patience: l.Patience}
}

func (l *limited) Send(r *response) error { return l.SendMsg(r) }

func (l *limited) Recv() (*discovery.DeltaDiscoveryRequest, error) {
	req := &discovery.DeltaDiscoveryRequest{}
	if err := l.RecvMsg(req); err != nil {
		return nil, err
	}
	if l.rate.Tokens() >= float64(l.rate.Burst())/2 {
		l.slowed = 0
	}
	if l.rate.Allow() {
		return req, nil
	}
	if l.slowed++; l.slowed > l.patience {
		return nil, status.Error(codes.ResourceExhausted, "too many requests on this stream")
	}
	return req, l.rate.Wait(l.Context())
}
