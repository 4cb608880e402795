// Package trafficmetrics serves SMI's TrafficMetrics as an aggregated API.
//
//	kube-apiserver ──mTLS──> who asks? may they? ─> metrics.Request ─> Prometheus ─> TrafficMetrics
//
// It has connections, clients and limits of its own: whatever becomes of Prometheus, nothing else of the
// operator waits for it.
package trafficmetrics

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/net/netutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	authorization "k8s.io/client-go/kubernetes/typed/authorization/v1"
	core "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/weft-mesh/weft/internal/smi/metrics"
)

// Limits of what is asked here, and of what is asked of Prometheus.
const (
	connections   = 200
	headerBytes   = 64 << 10 // names of groups may be many
	headerTimeout = 5 * time.Second
	answerTimeout = 15 * time.Second // more than limit
	idleTimeout   = 2 * time.Minute
	stopFor       = 5 * time.Second

	atOnce      = 4                // requests that ask Prometheus
	limit       = 10 * time.Second // for all that one request asks of it, with the wait for its turn
	answerBytes = 16 << 20         // of one of its answers, unpacked

	reviewsPerSecond, reviewsAtOnce = 20, 40
)

// Options are what a Server needs.
type Options struct {
	Address     string // to listen at
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	API         *rest.Config                                                         // of the API server
	Source      func(context.Context) (Source, error)                                // asked at each request
	Pods        func(context.Context) ([]*corev1.Pod, error)                         // those in the mesh; not altered
	Splits      func(ctx context.Context, namespace string) ([]metrics.Split, error) // of all namespaces if it is empty
	Log         logr.Logger
}

// Server answers the API server.
type Server struct {
	Options
	front      *frontProxy
	authorizer authorizer.Authorizer
	prometheus prometheus
	turns      chan struct{} // to ask Prometheus
}

// New makes one; Start runs it.
func New(o Options) (*Server, error) {
	config := rest.CopyConfig(o.API) // whoever floods this API slows nothing else
	config.QPS, config.Burst, config.Timeout = reviewsPerSecond, reviewsAtOnce, limit
	configMaps, err := core.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("serve TrafficMetrics: %w", err)
	}
	reviews, err := authorization.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("serve TrafficMetrics: %w", err)
	}
	s := &Server{Options: o, turns: make(chan struct{}, atOnce)}
	if s.front, err = newFrontProxy(configMaps); err != nil {
		return nil, fmt.Errorf("serve TrafficMetrics: authenticate: %w", err)
	}
	if s.authorizer, err = newAuthorizer(reviews); err != nil {
		return nil, fmt.Errorf("serve TrafficMetrics: authorize: %w", err)
	}
	return s, nil
}

// NeedLeaderElection is false: every replica serves.
func (s *Server) NeedLeaderElection() bool { return false }

// Start runs until ctx ends.
func (s *Server) Start(ctx context.Context) error {
	listener, err := net.Listen("tcp", s.Address)
	if err != nil {
		return fmt.Errorf("serve TrafficMetrics: %w", err)
	}
	return s.serve(ctx, listener)
}

func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	s.front.follow(ctx)
	server := &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: s.Certificate, ClientAuth: tls.RequestClientCert},
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: connections},
		ErrorLog:          quiet(s.Log),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(netutil.LimitListener(listener, connections), "", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve TrafficMetrics: %w", err)
	case <-ctx.Done():
	}
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), stopFor)
	defer done()
	err := errors.Join(server.Shutdown(stop), server.Close())
	if first := <-ended; !errors.Is(first, http.ErrServerClosed) {
		err = errors.Join(err, first)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // it was closed with requests open
	}
	return err
}
