package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/e2e/call"
)

// application is all the ports.
type application struct {
	pod      string
	ports    []*port
	health   *health.Server
	draining atomic.Bool

	mu       sync.Mutex
	requests map[string]int // of HTTP that were answered, by path
	failed   atomic.Int64
	answer   atomic.Int32 // the status of those of echo; 0: 200
	code     atomic.Int32 // the status of those of Say; 0: OK
	delay    atomic.Int64 // before both, and before each line of TCP, in nanoseconds
	load     atomic.Value // what they report of the pod's CPU, by ORCA; empty: nothing
	thirds   atomic.Int64
}

// newApplication has all ports closed.
func newApplication(pod string) (*application, error) {
	a := &application{pod: pod, health: health.NewServer(), requests: map[string]int{}}
	own, err := certificate()
	if err != nil {
		return nil, err
	}
	secure := &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}
	a.ports = []*port{
		{name: "http", address: ":8080", serve: a.http},
		{name: "h2c", address: ":8081", serve: a.h2c},
		{name: "tls", address: ":8443", serve: func(l net.Listener) error { return a.lines(tls.NewListener(l, secure), "TLS", "") }},
		{name: "tcp", address: ":9000", serve: func(l net.Listener) error { return a.lines(l, "TCP", "") }},
		{name: "greeting", address: ":9001", serve: func(l net.Listener) error { return a.lines(l, "TCP", "welcome\n") }},
		{name: "grpc", address: ":9090", serve: a.grpc},
		{name: "exec"},
	}
	return a, nil
}

func (a *application) listen() error {
	for _, p := range a.ports {
		if err := p.turn(true); err != nil {
			return fmt.Errorf("open port %s: %w", p.name, err)
		}
	}
	return nil
}

func (a *application) drain() {
	a.draining.Store(true)
	a.health.Shutdown()
}

func (a *application) http(l net.Listener) error {
	server := &http.Server{Handler: a.handler(), ReadHeaderTimeout: 30 * time.Second}
	return server.Serve(l)
}

// h2c speaks HTTP/2 without TLS and nothing else.
func (a *application) h2c(l net.Listener) error {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: a.handler(), ReadHeaderTimeout: 30 * time.Second, Protocols: &only}
	return server.Serve(l)
}

func (a *application) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if a.draining.Load() {
			http.Error(w, "draining", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/private", a.private)
	mux.HandleFunc("/check/", a.check)
	mux.HandleFunc("/wait", a.wait)
	mux.HandleFunc("/third", a.third)
	mux.HandleFunc("/lame/{pod}", a.lame)
	mux.HandleFunc("/failing", a.fail)
	mux.HandleFunc("/failed", a.failures)
	mux.HandleFunc("/mood", a.mood)
	mux.HandleFunc("/via/{next}", a.via)
	mux.HandleFunc("/via/{next}/{path...}", a.via)
	mux.Handle("/socket", websocket.Handler(a.socket))
	mux.HandleFunc("/", a.echo)
	return mux
}

func (a *application) echo(w http.ResponseWriter, r *http.Request) {
	said, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the client has gone
	}
	a.mu.Lock()
	a.requests[r.URL.Path]++
	a.mu.Unlock()
	a.rest(r.Context())
	for _, header := range r.Header.Values("Answer-With") {
		name, value, _ := strings.Cut(header, ":")
		w.Header().Add(name, strings.TrimSpace(value))
	}
	if load, _ := a.load.Load().(string); load != "" {
		w.Header().Set("Endpoint-Load-Metrics", `JSON {"cpu_utilization": `+load+`, "rps_fractional": 100}`)
	}
	w.Header().Set("Content-Type", "application/json")
	if status := a.answer.Load(); status != 0 {
		w.WriteHeader(int(status))
	}
	_ = json.NewEncoder(w).Encode(call.Answer{Pod: a.pod, Protocol: r.Proto, Remote: host(r.RemoteAddr), Method: r.Method,
		Said: string(said), Host: r.Host, Path: r.URL.RequestURI(), Headers: r.Header})
}

// rest takes the time that mood said, unless the client goes before.
func (a *application) rest(ctx context.Context) {
	select {
	case <-time.After(time.Duration(a.delay.Load())):
	case <-ctx.Done():
	}
}

// wait answers after a minute, unless the client goes before.
func (a *application) wait(w http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(time.Minute):
		a.echo(w, r)
	}
}

// third fails every third time.
func (a *application) third(w http.ResponseWriter, r *http.Request) {
	if a.thirds.Add(1)%3 == 0 {
		http.Error(w, "failed", http.StatusServiceUnavailable)
		return
	}
	a.echo(w, r)
}

// lame is slow in the pod that the path names, unless the client goes before.
func (a *application) lame(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("pod") == a.pod {
		select {
		case <-r.Context().Done():
		case <-time.After(2 * time.Second):
		}
	}
	a.echo(w, r)
}

// fail takes as long as an application that is overloaded, and fails.
func (a *application) fail(w http.ResponseWriter, _ *http.Request) {
	a.failed.Add(1)
	time.Sleep(failing)
	http.Error(w, "failed", http.StatusServiceUnavailable)
}

const failing = 300 * time.Millisecond

// mood has echo answer by the status, and Say by the code of gRPC, after the delay and with the load of the query
// from now on; well and at once, and of no load, without them.
func (a *application) mood(w http.ResponseWriter, r *http.Request) {
	status, _ := strconv.ParseInt(r.URL.Query().Get("status"), 10, 32)
	code, _ := strconv.ParseInt(r.URL.Query().Get("code"), 10, 32)
	delay, _ := time.ParseDuration(r.URL.Query().Get("delay"))
	a.answer.Store(int32(status))
	a.code.Store(int32(code))
	a.delay.Store(int64(delay))
	a.load.Store(r.URL.Query().Get("load"))
	_ = json.NewEncoder(w).Encode(call.Answer{Pod: a.pod}) // the client has gone
}

// failures says how often fail was asked.
func (a *application) failures(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(call.Answer{Pod: a.pod, Said: strconv.FormatInt(a.failed.Load(), 10)}) // the client has gone
}

// private is for callers with a good token, which the application checks itself.
func (a *application) private(w http.ResponseWriter, r *http.Request) {
	if _, good := bearer(r.Header.Get("Authorization")); !good {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "no good token", http.StatusUnauthorized)
		return
	}
	a.echo(w, r)
}

// via asks another application on behalf of the caller, whose token it hands on, and answers what
// that one answers.
func (a *application) via(w http.ResponseWriter, r *http.Request) {
	request, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+r.PathValue("next")+"/"+r.PathValue("path"), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	request.Header.Set("Authorization", r.Header.Get("Authorization"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	w.Header().Set("Content-Type", response.Header.Get("Content-Type"))
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body) // the client has gone
}

func (a *application) socket(conn *websocket.Conn) {
	for {
		var said string
		if err := websocket.Message.Receive(conn, &said); err != nil {
			return
		}
		answer := call.Answer{Pod: a.pod, Protocol: "WebSocket", Remote: host(conn.Request().RemoteAddr), Said: said}
		if err := websocket.JSON.Send(conn, answer); err != nil {
			return
		}
	}
}

func (a *application) grpc(l net.Listener) error {
	server := grpc.NewServer()
	call.Serve(server, a)
	authv3.RegisterAuthorizationServer(server, checker{})
	extprocv3.RegisterExternalProcessorServer(server, processor{})
	grpc_health_v1.RegisterHealthServer(server, a.health)
	return server.Serve(l)
}

// Say is the gRPC method.
func (a *application) Say(ctx context.Context, text string) (string, error) {
	from, known := peer.FromContext(ctx)
	if !known {
		return "", errors.New("the call comes from nowhere")
	}
	a.rest(ctx)
	if code := a.code.Load(); code != 0 {
		return "", status.Error(codes.Code(code), "it is in the mood")
	}
	with, _ := metadata.FromIncomingContext(ctx)
	answer, err := json.Marshal(call.Answer{Pod: a.pod, Protocol: "gRPC", Remote: host(from.Addr.String()), Said: text, Headers: http.Header(with)})
	return string(answer), err
}

// lines answers each line with one, after a greeting if there is one.
func (a *application) lines(l net.Listener, protocol, greeting string) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go a.talk(conn, protocol, greeting)
	}
}

func (a *application) talk(conn net.Conn, protocol, greeting string) {
	defer conn.Close()
	if _, err := io.WriteString(conn, greeting); err != nil {
		return
	}
	said := bufio.NewScanner(conn)
	for said.Scan() {
		a.rest(context.Background())
		answer := call.Answer{Pod: a.pod, Protocol: protocol, Remote: host(conn.RemoteAddr().String()), Said: said.Text()}
		if err := json.NewEncoder(conn).Encode(answer); err != nil {
			return
		}
	}
}

// host leaves the port out.
func host(address string) string {
	ip, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return ip
}

// certificate is the application's own, by which a client sees that nobody else ended its TLS.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "echo"}, DNSNames: []string{"own.echo.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
