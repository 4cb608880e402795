package xds

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/go-logr/logr/testr"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
)

// tokens authenticates by a table, as the API server would.
type tokens map[string]Identity

func (t tokens) Authenticate(_ context.Context, token string) (Identity, error) {
	who, ok := t[token]
	if !ok {
		return who, errors.New("the API server does not accept the token")
	}
	return who, nil
}

// pod is the identity behind the token of that name: its scope is its ServiceAccount.
func pod(name, scope string) Identity {
	return Identity{Namespace: "shop", ServiceAccount: scope, Pod: name, PodUID: name, Expires: time.Now().Add(time.Hour)}
}

type harness struct {
	t     *testing.T
	store *Store
	facts *Facts
	*Server
	options Options
	served  chan error
	addr    string
	roots   *x509.CertPool
	pem     []byte
	talk    *talk
}

// listen starts a Server for the pods web-0 and web-1 of scope web, and api-0 of scope api.
func listen(t *testing.T, s *Store, change ...func(*Options)) *harness {
	cert := certificate(t)
	h := &harness{t: t, roots: x509.NewCertPool(), addr: "127.0.0.1:0", talk: &talk{}}
	h.roots.AddCert(cert.Leaf)
	h.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	h.options = Options{Log: testr.New(t), GRPC: []grpc.ServerOption{grpc.StreamInterceptor(h.talk.record)},
		Certificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil },
		Authenticator: tokens{"web-0": pod("web-0", "web"), "web-1": pod("web-1", "web"), "api-0": pod("api-0", "api")},
		ScopeOf:       func(i Identity) (string, bool) { return i.ServiceAccount, i.ServiceAccount != "" }}
	for _, f := range change {
		f(&h.options)
	}
	h.start(s)
	t.Cleanup(h.stop)
	return h
}

// start serves a Store, at the address where the harness served before.
func (h *harness) start(s *Store) {
	h.store, h.facts, h.served = s, NewFacts(), make(chan error, 1)
	h.options.Store, h.options.Facts = h.store, h.facts
	h.Server = NewServer(h.options)
	l, err := net.Listen("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.addr = l.Addr().String()
	go func() { h.served <- h.Serve(l) }()
}

func (h *harness) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	h.Server.Stop(ctx)
	if err := <-h.served; err != nil {
		h.t.Error(err)
	}
	if ctx.Err() != nil {
		h.t.Error("the server did not stop gracefully")
	}
}

func certificate(t testing.TB) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "xds"}, DNSNames: []string{"xds.test"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// stream is one client's stream: a test plays Envoy on it.
type stream struct {
	t     testing.TB
	wire  grpc.BidiStreamingClient[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]
	got   chan *discovery.DeltaDiscoveryResponse
	ended error
	fence int
	close func()
}

func (h *harness) dial(version uint16) *grpc.ClientConn {
	cc, err := grpc.NewClient(h.addr, grpc.WithTransportCredentials(credentials.NewTLS(
		&tls.Config{RootCAs: h.roots, ServerName: "xds.test", MinVersion: tls.VersionTLS12, MaxVersion: version})))
	if err != nil {
		h.t.Fatal(err)
	}
	return cc
}

func (h *harness) open(token string) *stream {
	cc := h.dial(tls.VersionTLS13)
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token))
	w, err := discovery.NewAggregatedDiscoveryServiceClient(cc).DeltaAggregatedResources(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	s := &stream{t: h.t, wire: w, got: make(chan *discovery.DeltaDiscoveryResponse, 100)}
	go s.read()
	s.close = func() { cancel(); cc.Close() }
	h.t.Cleanup(s.close)
	return s
}

func (s *stream) read() {
	for {
		r, err := s.wire.Recv()
		if err != nil {
			s.ended = err
			close(s.got)
			return
		}
		s.got <- r
	}
}

func (s *stream) send(r *discovery.DeltaDiscoveryRequest) {
	if err := s.wire.Send(r); err != nil {
		s.t.Fatalf("send: %v", err)
	}
}

func (s *stream) subscribe(typeURL string, names ...string) {
	s.send(&discovery.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: names})
}

func (s *stream) unsubscribe(typeURL string, names ...string) {
	s.send(&discovery.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesUnsubscribe: names})
}

func (s *stream) acknowledge(typeURL, nonce string) {
	s.send(&discovery.DeltaDiscoveryRequest{TypeUrl: typeURL, ResponseNonce: nonce})
}

// resume subscribes as Envoy does when it comes with what an earlier stream gave it.
func (s *stream) resume(typeURL string, has map[string]string, names ...string) {
	s.send(&discovery.DeltaDiscoveryRequest{TypeUrl: typeURL, InitialResourceVersions: has, ResourceNamesSubscribe: names})
}

func (s *stream) ack(r *discovery.DeltaDiscoveryResponse) {
	s.send(&discovery.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce})
}

func (s *stream) nack(r *discovery.DeltaDiscoveryResponse, why string) {
	s.send(&discovery.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce, ErrorDetail: &status.Status{Code: 13, Message: why}})
}

func (s *stream) next() *discovery.DeltaDiscoveryResponse {
	s.t.Helper()
	select {
	case r, ok := <-s.got:
		if !ok {
			s.t.Fatalf("the stream ended: %v", s.ended)
		}
		return r
	case <-time.After(10 * time.Second):
		s.t.Fatal("no response in 10 s")
		return nil
	}
}

// text says a response in short: "Cluster +a@1 -b".
func text(r *discovery.DeltaDiscoveryResponse) string {
	var s []string
	for _, x := range r.Resources {
		s = append(s, "+"+x.Name+"@"+x.Version)
	}
	for _, x := range r.RemovedResources {
		s = append(s, "-"+x)
	}
	slices.Sort(s)
	return strings.TrimSpace(r.TypeUrl[strings.LastIndex(r.TypeUrl, ".")+1:] + " " + strings.Join(s, " "))
}

// want expects the next response and acknowledges it.
func (s *stream) want(want string) {
	s.t.Helper()
	s.ack(s.unanswered(want))
}

// unanswered expects the next response and leaves it unacknowledged.
func (s *stream) unanswered(want string) *discovery.DeltaDiscoveryResponse {
	s.t.Helper()
	r := s.next()
	if got := text(r); got != want {
		s.t.Fatalf("got %q, want %q", got, want)
	}
	return r
}

// quiet expects that nothing is being sent: the answer to a question that is asked now comes next.
func (s *stream) quiet() {
	s.t.Helper()
	s.fence++
	name := fmt.Sprintf("fence-%d", s.fence)
	s.subscribe(EndpointType, name)
	s.want("ClusterLoadAssignment -" + name)
}

// end expects the stream to end and returns why.
func (s *stream) end() error {
	s.t.Helper()
	for {
		select {
		case _, ok := <-s.got:
			if !ok {
				return s.ended
			}
		case <-time.After(10 * time.Second):
			s.t.Fatal("the stream did not end in 10 s")
		}
	}
}
