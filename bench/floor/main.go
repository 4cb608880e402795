// Command floor is the cheapest possible delta ADS server in Go: every resource is
// marshalled once, every stream is sent the same bytes. It keeps no state per stream,
// never coalesces and takes in no answer, so what the load measures against it is what
// fanning out costs on this machine (gRPC, TLS 1.3 and the kernel). With -raw it measures
// the floor below gRPC: one write per TCP socket.
package main

import (
	"flag"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof" // on the control port
	"strings"
	"sync"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/bench/world"
)

var (
	addr     = flag.String("addr", "127.0.0.1:15010", "ADS address")
	ctl      = flag.String("ctl", "127.0.0.1:15099", "control address")
	roots    = flag.String("roots", "", "file to write the server's certificate to")
	services = flag.Int("services", 1000, "services to serve")
	raw      = flag.Int("raw", 0, "measure this many plain TCP sockets instead, then exit")
)

// rawCodec sends bytes that are a marshalled response already.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(d mem.BufferSlice, v any) error {
	return proto.Unmarshal(d.Materialize(), v.(proto.Message))
}

// floor is the responses that hold everything, by type, and the open streams.
type floor struct {
	mu      sync.Mutex
	all     map[string][]byte
	streams map[chan []byte]struct{}
}

func marshalled(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		log.Fatal(err)
	}
	return b
}

// response is a marshalled response of those resources, which are all of one type.
func response[M proto.Message](nonce string, name func(M) string, resources ...M) (typeURL string, body []byte) {
	r := &discovery.DeltaDiscoveryResponse{Nonce: nonce, SystemVersionInfo: nonce}
	for _, m := range resources {
		a, err := anypb.New(m)
		if err != nil {
			log.Fatal(err)
		}
		r.TypeUrl = a.TypeUrl
		r.Resources = append(r.Resources, &discovery.Resource{Name: name(m), Version: nonce, Resource: a})
	}
	return r.TypeUrl, marshalled(r)
}

func (f *floor) handle(_ any, st grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(st.Context())
	if token := md.Get("authorization"); len(token) != 1 || !strings.HasPrefix(token[0], "Bearer ") {
		return status.Error(codes.Unauthenticated, "no bearer token")
	}
	out := make(chan []byte, 16)
	f.mu.Lock()
	f.streams[out] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.streams, out)
	}()
	failed := make(chan error, 1)
	go func() { failed <- f.receive(st, out) }()
	for {
		select {
		case err := <-failed:
			return err
		case body := <-out:
			if err := st.SendMsg(body); err != nil {
				return err
			}
		}
	}
}

// receive answers each subscription with everything of its type.
func (f *floor) receive(st grpc.ServerStream, out chan<- []byte) error {
	for {
		var r discovery.DeltaDiscoveryRequest
		if err := st.RecvMsg(&r); err != nil {
			return err
		}
		if body := f.all[r.TypeUrl]; r.ResponseNonce == "" && body != nil {
			select {
			case out <- body:
			case <-st.Context().Done():
				return st.Context().Err()
			}
		}
	}
}

func (f *floor) broadcast(_ string, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for out := range f.streams {
		out <- body
	}
}

func main() {
	flag.Parse()
	if *raw > 0 {
		rawFloor(*raw)
		return
	}
	f := build(*services)
	cert, err := world.Certificate(*roots)
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(cert)), grpc.ForceServerCodecV2(rawCodec{}),
		grpc.UnknownServiceHandler(f.handle), grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(1<<20))
	go func() { log.Fatal(s.Serve(l)) }()
	f.serveChanges()
	log.Fatal(http.ListenAndServe(*ctl, nil))
}
