package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/e2e/call"
)

// ports collects flags that may occur many times.
type ports []int

func (p *ports) String() string { return fmt.Sprint(*p) }

func (p *ports) Set(text string) error {
	port, err := strconv.ParseUint(text, 10, 16)
	*p = append(*p, int(port))
	return err
}

// serve listens on the ports of a command line until SIGTERM. Without any it only waits.
func serve(args []string) error {
	var plain, secure, calls, lines ports
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.Var(&plain, "port", "a port for HTTP/1.1 and HTTP/2; may be repeated")
	flags.Var(&secure, "tls", "which of them speaks TLS; may be repeated")
	flags.Var(&calls, "grpc", "a port for gRPC; may be repeated")
	flags.Var(&lines, "tcp", "a port for lines of text; may be repeated")
	certificate := flags.String("crt", "", "certificate of the ports that speak TLS; one is made where the file is missing")
	key := flags.String("key", "", "its key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pod, err := os.Hostname()
	if err != nil {
		return err
	}
	own, err := load(*certificate, *key)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for _, port := range plain {
		go func() { failed <- site{pod, port}.listen(slices.Contains(secure, port), own) }()
	}
	for _, port := range calls {
		go func() { failed <- site{pod, port}.grpc() }()
	}
	for _, port := range lines {
		go func() { failed <- site{pod, port}.tcp() }()
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	select {
	case <-term:
		return nil
	case err := <-failed:
		return err
	}
}

// site is one port of a pod.
type site struct {
	pod  string
	port int
}

func (s site) address() string { return ":" + strconv.Itoa(s.port) }

func (s site) listen(secure bool, own tls.Certificate) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Addr: s.address(), Handler: s, Protocols: &protocols, ReadHeaderTimeout: 30 * time.Second}
	if !secure {
		return server.ListenAndServe()
	}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}
	return server.ListenAndServeTLS("", "")
}

// ServeHTTP tells of the request, one fact on a line.
func (s site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	line := func(name, value string) { fmt.Fprintf(w, "%s=%s\n", name, value) }
	s.facts(line, r.RemoteAddr, r.Host, r.Proto, r.Header)
	line("Method", r.Method)
	line("URL", r.URL.RequestURI())
}

// facts are those that HTTP and gRPC have in common.
func (s site) facts(line func(name, value string), remote, host, protocol string, headers http.Header) {
	line("Hostname", s.pod)
	line("ServicePort", strconv.Itoa(s.port))
	line("Host", host)
	line("Proto", protocol)
	if ip, _, err := net.SplitHostPort(remote); err == nil {
		line("IP", ip)
	}
	for _, name := range sorted(headers) {
		for _, value := range headers[name] {
			line("RequestHeader", name+":"+value)
		}
	}
}

func (s site) grpc() error {
	listener, err := net.Listen("tcp", s.address())
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	call.Serve(server, s)
	return server.Serve(listener)
}

// Say is the gRPC method. The status is the one that HTTP would have.
func (s site) Say(ctx context.Context, _ string) (string, error) {
	given, _ := metadata.FromIncomingContext(ctx)
	headers, host := http.Header{}, strings.Join(given.Get(":authority"), ",")
	for name, values := range given {
		if !strings.HasPrefix(name, ":") {
			headers[http.CanonicalHeaderKey(name)] = values
		}
	}
	var text strings.Builder
	line := func(name, value string) { fmt.Fprintf(&text, "%s=%s\n", name, value) }
	line("StatusCode", "200")
	s.facts(line, "", host, "GRPC", headers)
	return text.String(), nil
}

// tcp gives each line back.
func (s site) tcp() error {
	listener, err := net.Listen("tcp", s.address())
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn) // the client has gone
		}()
	}
}

// load reads a certificate, or makes one where there is none.
func load(certificate, key string) (tls.Certificate, error) {
	own, err := tls.LoadX509KeyPair(certificate, key)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return own, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"echo-advanced"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, err
}
