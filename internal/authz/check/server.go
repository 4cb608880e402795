// Package check answers proxies what they do not decide of authorization by themselves, by Envoy's ext_authz protocol.
//
//	a proxy's question: modules, whole → OPA reads them once ┐
//	the request, as the proxy sees it  → Evidence ───────────┴→ Sentence → further, or 403
//
// What is asked comes with each question, and so this has neither policies nor anything to wait for: all pods of it answer
// alike, by what the proxy goes by at that moment.
package check

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"runtime"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/util/cache"

	"github.com/weft-mesh/weft/internal/grpcserver"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/xds"
)

const (
	maxConnections = 20_000
	maxStreams     = 1_000
	maxMessage     = 1 << 20
	// A connection begins anew after connectionAge, as pods come that could answer too.
	connectionAge = 30 * time.Minute
	// So many questions stay read, each for readFor after it was read.
	maxRead = 256
	readFor = time.Hour
	// Tokens that the API server has accepted are believed until they expire: it may be away, and all that they open is an
	// answer to what the proxy itself brings.
	maxTokens = 20_000
	// longest is what one answer may take.
	longest = 500 * time.Millisecond
)

// Options say how a Server serves. All are required.
type Options struct {
	Certificate grpcserver.Certificate
	// Authenticator says whose a bearer token is.
	Authenticator xds.Authenticator
}

// Server answers by TLS 1.3 only, and only proxies that prove who they are.
type Server struct {
	authv3.UnimplementedAuthorizationServer
	gate   *xds.Gatekeeper
	tokens *cache.LRUExpireCache // hashes of those that are believed
	judges *cache.LRUExpireCache // by hashes of their questions
	seats  chan struct{}
	grpc   *grpc.Server
}

// NewServer returns a Server that does not listen yet.
func NewServer(o Options) *Server {
	s := &Server{
		gate: xds.NewGatekeeper(o.Authenticator), tokens: cache.NewLRUExpireCache(maxTokens), judges: cache.NewLRUExpireCache(maxRead),
		seats: make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
	}
	s.grpc = grpcserver.New(grpcserver.Credentials(o.Certificate), grpcserver.Limits{Streams: maxStreams, Message: maxMessage, Age: connectionAge})
	authv3.RegisterAuthorizationServer(s.grpc, s)
	return s
}

// Serve answers until Stop is called.
func (s *Server) Serve(l net.Listener) error {
	return grpcserver.Serve(s.grpc, l, maxConnections, "what proxies ask")
}

// Stop has those who are being answered hear their answers, for as long as one may take, and ends.
func (s *Server) Stop() {
	defer time.AfterFunc(2*longest, s.grpc.Stop).Stop()
	s.grpc.GracefulStop()
}

// Check answers about one request. An error is no answer: the proxy refuses the request.
func (s *Server) Check(ctx context.Context, asked *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	if err := s.identify(ctx); err != nil {
		failed("refused")
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	select {
	case s.seats <- struct{}{}:
		defer func() { <-s.seats }()
	case <-ctx.Done():
		failed("busy")
		return nil, status.Error(codes.Unavailable, "too many questions are being answered")
	}
	start := time.Now()
	said, err := s.Answer(ctx, asked)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		failed("slow")
		return nil, status.Error(codes.DeadlineExceeded, err.Error())
	case err != nil:
		failed("unreadable")
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	answered(said.Allowed, time.Since(start))
	if said.Allowed {
		return &authv3.CheckResponse{Status: &rpcstatus.Status{Code: int32(codes.OK)}}, nil
	}
	return refusal(said)
}

// Answer is what Check says, to whoever asks.
func (s *Server) Answer(ctx context.Context, asked *authv3.CheckRequest) (opa.Sentence, error) {
	judge, err := s.judge(questionIn(asked))
	if err != nil {
		return opa.Sentence{}, err
	}
	return judge.Answer(ctx, evidence(asked, judge.Gateway))
}

// judge is one who has read a question.
func (s *Server) judge(text string) (*opa.Judge, error) {
	sum := sha256.Sum256([]byte(text))
	if found, is := s.judges.Get(sum); is {
		return found.(*opa.Judge), nil
	}
	q, err := opa.ReadQuestion(text)
	if err != nil {
		return nil, err
	}
	judge, err := opa.NewJudge(q)
	if err != nil {
		return nil, err
	}
	s.judges.Add(sum, judge, readFor)
	return judge, nil
}

// identify lets in who shows the token of a pod.
func (s *Server) identify(ctx context.Context) error {
	token, err := xds.Bearer(ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(token))
	if _, is := s.tokens.Get(sum); is {
		return nil
	}
	who, err := s.gate.Review(ctx, token)
	if err == nil {
		s.tokens.Add(sum, true, time.Until(who.Expires))
	}
	return err
}

// refusal tells the proxy's log by whom.
func refusal(said opa.Sentence) (*authv3.CheckResponse, error) {
	by, err := structpb.NewStruct(map[string]any{"policy": said.Policy, "rule": said.Rule})
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &authv3.CheckResponse{
		Status:          &rpcstatus.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse:    &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: typev3.StatusCode_Forbidden}}},
		DynamicMetadata: by,
	}, nil
}
