package envoy_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

// peer is a connection of another sidecar to the one under test.
type peer struct {
	t *testing.T
	c *tls.Conn
	r *bufio.Reader
}

// meets opens one; what is offered decides which chain takes it.
func meets(t *testing.T, port uint32, offer ...string) peer {
	t.Helper()
	chain, key := signed(t, callerID)
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(dial(t, port), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, NextProtos: offer})
	return peer{t, c, bufio.NewReader(c)}
}

// echoes says whether a line comes back.
func (p peer) echoes(line string) {
	p.t.Helper()
	fmt.Fprintln(p.c, line)
	if got, err := p.r.ReadString('\n'); got != line+"\n" {
		p.t.Fatalf("sent %q, got %q: %v", line, got, err)
	}
}

// isServed asks by HTTP/1.1, and demands that the connection may be used again.
func (p peer) isServed() {
	p.t.Helper()
	fmt.Fprint(p.c, "GET / HTTP/1.1\r\nHost: cart\r\n\r\n")
	response, err := http.ReadResponse(p.r, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK || response.Close {
		p.t.Fatalf("status %d, closing %t: %v", response.StatusCode, response.Close, err)
	}
}

// ends waits until the sidecar closes the connection.
func (p peer) ends() {
	p.t.Helper()
	if b, err := p.r.ReadByte(); err == nil {
		p.t.Fatalf("got %q", b)
	} else if timeout, is := err.(net.Error); is && timeout.Timeout() {
		p.t.Fatal("the connection stays open")
	}
}

// repeats is an app that says what it hears.
func repeats(t *testing.T) mesh.Endpoint {
	t.Helper()
	return listen(t, func(c net.Conn) {
		_, _ = io.Copy(c, c) // the caller sees what is missing
	})
}

// TestRetiredRootsEndRawTCP: of one listener, an open connection of raw TCP outlives new certificates and
// changes of other chains, and ends with the drain time once a root was retired; connections of HTTP, whose
// age is bounded, do not end for that.
func TestRetiredRootsEndRawTCP(t *testing.T) {
	t.Parallel()
	operatorKey, store, port := keyPair(t, operatorName), xds.NewStore(nil), porttest.Free(t, 1)[0]
	backend := serve(t, func(http.ResponseWriter, *http.Request) {})[0]
	in := mesh.Inbound{TrustDomain: "mesh.test", Mode: mesh.MTLSStrict, ConnectionAge: time.Hour}
	listener := func() map[string]proto.Message {
		l := envoy.Inbound(in)
		l.Address.GetSocketAddress().PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: port}
		return map[string]proto.Message{mesh.InboundListener: l}
	}
	commitTo(store, "cart", rootsSecret(), identitySecret(t, appID), unguarded(), listener(), map[string]proto.Message{
		mesh.AppHTTP1: app(mesh.AppHTTP1, backend), mesh.AppHTTP2: app(mesh.AppHTTP2, backend), mesh.AppTCP: app(mesh.AppTCP, repeats(t))})
	s := startSidecar(t, store, operator(t, store, operatorKey, known{}), operatorKey, "cart")
	eventually(t, "the sidecar is ready", s.isReady)

	raw, web := meets(t, port, "mesh"), meets(t, port, "mesh-h1", "http/1.1")
	raw.echoes("before")
	web.isServed()
	commitTo(store, "cart", rootsSecret(), identitySecret(t, appID))
	s.knows(t)
	in.ConnectionAge = 2 * time.Hour
	commitTo(store, "cart", listener())
	web.ends() // and what else was to be drained for that has been
	raw.echoes("after new certificates, and a change of other chains")

	web = meets(t, port, "mesh-h1", "http/1.1")
	web.isServed()
	in.RootsRetired++
	commitTo(store, "cart", listener())
	raw.ends()
	web.isServed()
	meets(t, port, "mesh").echoes("a connection made since")
}
