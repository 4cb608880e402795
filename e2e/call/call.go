// Package call makes one call of one protocol, and says what came of it.
//
//	Request → one connection, one exchange → Outcome
//
// The other side is e2e/apps/echo, which answers each protocol with an Answer. It never tries
// again: what failed is the outcome.
package call

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Protocol is how one call is made.
type Protocol string

// The protocols.
const (
	HTTP      Protocol = "http"      // HTTP/1.1
	H2C       Protocol = "h2c"       // HTTP/2 without TLS, with prior knowledge
	GRPC      Protocol = "grpc"      // the method Say
	Health    Protocol = "health"    // gRPC's Health/Check
	WebSocket Protocol = "websocket" // one message to the path /socket
	TCP       Protocol = "tcp"       // one line, which the client says first
	Greeting  Protocol = "greeting"  // the server speaks first, then as TCP
	TLS       Protocol = "tls"       // as TCP, under the server's own TLS
	Peek      Protocol = "peek"      // a TLS handshake as a sidecar begins it: which certificate is shown?
	Mesh      Protocol = "mesh"      // as TCP, under mTLS as a sidecar speaks it
)

// Request is one call.
type Request struct {
	Protocol Protocol          `json:"protocol"`
	Address  string            `json:"address"`           // host:port to connect to
	Host     string            `json:"host,omitempty"`    // of HTTP requests; empty: Address
	Method   string            `json:"method,omitempty"`  // of HTTP requests; empty: POST with a text, GET without
	Path     string            `json:"path,omitempty"`    // of HTTP requests; empty: /
	Text     string            `json:"text,omitempty"`    // what is said
	Headers  map[string]string `json:"headers,omitempty"` // of HTTP requests and gRPC calls
	Within   time.Duration     `json:"within,omitempty"`  // 0: ten seconds

	// Of Mesh: the client's certificate and its key, in PEM.
	Certificate []byte `json:"certificate,omitempty"`
	Key         []byte `json:"key,omitempty"`
}

// Answer is what the echo application says of a call that reached it. The shop says Pod, Path and
// Headers in the same words.
type Answer struct {
	Pod      string      `json:"pod"`
	Protocol string      `json:"protocol"` // as the application saw it: HTTP/1.1, HTTP/2.0, gRPC, TCP, …
	Remote   string      `json:"remote"`   // IP that the connection came from
	Said     string      `json:"said"`
	Method   string      `json:"method,omitempty"`
	Host     string      `json:"host,omitempty"`
	Path     string      `json:"path,omitempty"`
	Headers  http.Header `json:"headers,omitempty"`
}

// Outcome is what came of a call.
type Outcome struct {
	Failed string        `json:"failed,omitempty"` // empty: there was an answer
	Status int           `json:"status,omitempty"` // of HTTP
	Took   time.Duration `json:"took"`
	Answer Answer        `json:"answer"`
	Header http.Header   `json:"header,omitempty"` // of HTTP answers
	Body   string        `json:"body,omitempty"`   // of an HTTP answer that is not the application's
	Serial string        `json:"serial,omitempty"` // hexadecimal, of the certificate that the server showed
	Names  []string      `json:"names,omitempty"`  // DNS names and URIs in it
}

// Err is nil if there was an answer, over HTTP with status 200.
func (o Outcome) Err() error {
	switch {
	case o.Failed != "":
		return fmt.Errorf("no answer: %s", o.Failed)
	case o.Status != 0 && o.Status != 200:
		return fmt.Errorf("status %d", o.Status)
	}
	return nil
}

const patience = 10 * time.Second

// Do makes one call.
func Do(ctx context.Context, r Request) Outcome {
	if r.Within == 0 {
		r.Within = patience
	}
	if r.Host == "" {
		r.Host = r.Address
	}
	ctx, cancel := context.WithTimeout(ctx, r.Within)
	defer cancel()
	began := time.Now()
	out, err := r.do(ctx)
	out.Took = time.Since(began)
	if err != nil {
		out.Failed = err.Error()
	}
	return out
}

func (r Request) do(ctx context.Context) (Outcome, error) {
	switch r.Protocol {
	case HTTP, H2C:
		return r.http(ctx)
	case GRPC, Health:
		return r.grpc(ctx)
	case WebSocket:
		return r.webSocket(ctx)
	case TCP, Greeting:
		conn, err := dial(ctx, r.Address)
		if err != nil {
			return Outcome{}, err
		}
		defer conn.Close()
		return r.lines(conn)
	case TLS, Peek, Mesh:
		return r.tls(ctx)
	}
	return Outcome{}, fmt.Errorf("no such protocol: %q", r.Protocol)
}

// dial connects, and has every read and write end with ctx.
func dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if deadline, limited := ctx.Deadline(); limited {
		err = conn.SetDeadline(deadline)
	}
	return conn, err
}

// meshALPN is what a sidecar offers for a connection that it takes for TCP.
const meshALPN = "mesh"

// config looks at no authority: what the server shows is what is asked for.
func (r Request) config() (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, ServerName: "echo.test"}
	if r.Protocol != TLS {
		config.NextProtos = []string{meshALPN}
	}
	if r.Certificate != nil {
		own, err := tls.X509KeyPair(r.Certificate, r.Key)
		if err != nil {
			return nil, fmt.Errorf("read the client's certificate: %w", err)
		}
		// Also where the server asks for another authority's.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	}
	return config, nil
}

// secure connects, and is past the handshake.
func (r Request) secure(ctx context.Context) (*tls.Conn, error) {
	config, err := r.config()
	if err != nil {
		return nil, err
	}
	plain, err := dial(ctx, r.Address)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(plain, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		plain.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}

func (r Request) tls(ctx context.Context) (out Outcome, err error) {
	secure, err := r.secure(ctx)
	if err != nil {
		return out, err
	}
	defer secure.Close()
	if r.Protocol != Peek {
		if out, err = r.lines(secure); err != nil {
			return out, err
		}
	}
	leaf := secure.ConnectionState().PeerCertificates[0]
	out.Serial = leaf.SerialNumber.Text(16)
	out.Names = append(out.Names, leaf.DNSNames...)
	for _, uri := range leaf.URIs {
		out.Names = append(out.Names, uri.String())
	}
	return out, nil
}

func decode(body []byte) (out Outcome, err error) {
	if err := json.Unmarshal(body, &out.Answer); err != nil {
		return out, fmt.Errorf("the answer is not of the echo application: %w in %.100q", err, body)
	}
	return out, nil
}
