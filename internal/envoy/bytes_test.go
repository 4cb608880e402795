package envoy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

// The listeners of a proxy that passes bytes on: of protocol TCP and of UDP, and of TCP as no TCPRoute has
// a Service's port, by a cluster in the Listener.
const (
	portOfTCP    = "gateway/shop/web/9000"
	portOfUDP    = "gateway/shop/web/53/udp"
	portOfInline = "outbound/shop/one/9000"
)

// passing is a real Envoy that follows a store.
type passing struct {
	*gateway
	store    *xds.Store
	tcp, udp string // addresses
	inline   uint32 // a port
}

func startPassing(t *testing.T, clusters map[string]mesh.Endpoint) passing {
	t.Helper()
	own, store, ports := served(t, 6)
	p := passing{store: store, tcp: local(ports[3]), udp: local(ports[5]), inline: ports[4]}
	made, endpoints := map[string]proto.Message{mesh.Blackhole: envoy.FixedCluster(mesh.Blackhole)}, map[string]proto.Message{}
	for cluster, at := range clusters {
		made[cluster] = envoy.Cluster(mesh.Cluster{Name: cluster, Protocol: mesh.TCP})
		endpoints[cluster] = envoy.Endpoints(mesh.Endpoints{Cluster: cluster, Addresses: []mesh.Endpoint{at}})
	}
	commit(store, made, endpoints,
		map[string]proto.Message{portOfUDP: envoy.DatagramCluster(portOfUDP)},
		map[string]proto.Message{portOfUDP: envoy.Endpoints(mesh.Endpoints{Cluster: portOfUDP})},
		map[string]proto.Message{portOfTCP: envoy.Split(mesh.Split{Name: portOfTCP})},
		map[string]proto.Message{
			portOfTCP: envoy.Listener(mesh.Listener{Name: portOfTCP, Port: ports[3], Chains: []mesh.Chain{{Name: "tcp", Split: portOfTCP, Raw: true}}}),
			portOfUDP: envoy.Listener(mesh.Listener{Name: portOfUDP, Port: ports[5], Datagrams: portOfUDP}),
		})
	p.gateway = run(t, bootstrap(t, own), time.Second)
	p.ready, p.stats = "http://"+local(ports[1]), "http://"+local(ports[2])
	eventually(t, "the proxy is ready", func() bool { return status(p.ready+envoy.ReadyPath) == 200 })
	return p
}

func local(port uint32) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// split has the port of TCP pass connections to clusters.
func (p passing) split(unresolved uint32, to ...mesh.Backend) {
	commit(p.store, map[string]proto.Message{portOfTCP: envoy.Split(mesh.Split{Name: portOfTCP, Backends: to, Unresolved: unresolved})})
}

// inlined has the port without a route pass connections to a cluster.
func (p passing) inlined(cluster string) {
	l := envoy.ServiceListener(mesh.ServiceListener{Name: portOfInline, Service: "shop/one", Addresses: []string{"127.0.0.1"}, Port: p.inline, Protocol: mesh.TCP, Cluster: cluster})
	l.BindToPort = nil // here nothing hands it connections over
	commit(p.store, map[string]proto.Message{portOfInline: l})
}

// sendTo has the port of UDP send to endpoints.
func (p passing) sendTo(to ...mesh.Endpoint) {
	commit(p.store, map[string]proto.Message{portOfUDP: envoy.Endpoints(mesh.Endpoints{Cluster: portOfUDP, Addresses: to})})
}

// namer says its name to each connection, and each line back.
func namer(t *testing.T, name string) mesh.Endpoint {
	return listen(t, func(c net.Conn) {
		fmt.Fprintln(c, name)
		_, _ = io.Copy(c, c) // the test sees what is missing
	})
}

// greeted is a connection, and the name that it was greeted with; "" if it was closed.
func greeted(t *testing.T, address string) (net.Conn, *bufio.Reader, string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	r := bufio.NewReader(c)
	name, _ := r.ReadString('\n')
	return c, r, strings.TrimSpace(name)
}

// answers says that a connection still works both ways.
func answers(t *testing.T, c net.Conn, r *bufio.Reader) {
	t.Helper()
	fmt.Fprintln(c, "still there")
	if line, err := r.ReadString('\n'); line != "still there\n" {
		t.Fatalf("the connection answers %q, %v", line, err)
	}
}

// Connections are shared out by weight, and the share of what cannot be resolved is closed. A change of
// weights, and of backends, leaves alone the connections that are open, for longer than the proxy drains
// what a change of a Listener replaces.
func TestTCP(t *testing.T) {
	t.Parallel()
	p := startPassing(t, map[string]mesh.Endpoint{"one": namer(t, "one"), "two": namer(t, "two")})
	if _, _, name := greeted(t, p.tcp); name != "" {
		t.Errorf("without a route, greeted by %q", name)
	}
	p.split(2, mesh.Backend{Cluster: "one", Weight: 6}, mesh.Backend{Cluster: "two", Weight: 2})
	eventually(t, "connections are passed on", func() bool { _, _, name := greeted(t, p.tcp); return name != "" })
	seen := map[string]int{}
	for range 500 {
		c, _, name := greeted(t, p.tcp)
		seen[name]++
		c.Close()
	}
	for name, share := range map[string]int{"one": 300, "two": 100, "": 100} {
		if got := seen[name]; got < share-60 || got > share+60 { // of chance, six standard deviations
			t.Errorf("%d of 500 connections went to %q, about %d should", got, name, share)
		}
	}
	p.split(0, mesh.Backend{Cluster: "one", Weight: 1})
	var kept net.Conn
	var keptReader *bufio.Reader
	eventually(t, "one goes to one", func() bool {
		c, r, name := greeted(t, p.tcp)
		kept, keptReader = c, r
		return name == "one"
	})

	p.inlined("one")
	eventually(t, "the other port is there", func() bool { c, err := net.Dial("tcp", local(p.inline)); return err == nil && c.Close() == nil })
	cut, _, _ := greeted(t, local(p.inline))

	p.inlined("two")
	p.split(0, mesh.Backend{Cluster: "two", Weight: 1})
	eventually(t, "all go to two", func() bool { _, _, name := greeted(t, p.tcp); return name == "two" })
	_, _ = io.Copy(io.Discard, cut) // until the proxy closes it
	answers(t, kept, keptReader)
}

// A sidecar passes what its app sends to a Service's port on as a TCPRoute says. When the route comes and
// goes, the port goes on without a gap.
func TestServiceSplit(t *testing.T) {
	t.Parallel()
	const name = "outbound/shop/db/5432"
	p := startPassing(t, map[string]mesh.Endpoint{"one": namer(t, "one"), "two": namer(t, "two")})
	l := mesh.ServiceListener{Name: name, Service: "shop/db", Addresses: []string{"127.0.0.1"}, Port: porttest.Free(t, 1)[0], Protocol: mesh.TCP, Cluster: "one"}
	listener := func() map[string]proto.Message {
		made := envoy.ServiceListener(l)
		made.BindToPort = nil // here nothing hands it connections over
		return map[string]proto.Message{name: made}
	}
	split := func(to ...mesh.Backend) map[string]proto.Message {
		return map[string]proto.Message{name: envoy.Split(mesh.Split{Name: name, Service: l.Service, Port: l.Port, Backends: to})}
	}
	commit(p.store, listener())
	eventually(t, "the port is there", func() bool { c, err := net.Dial("tcp", local(l.Port)); return err == nil && c.Close() == nil })
	goTo := func(want string) {
		t.Helper()
		eventually(t, "connections go to "+want, func() bool {
			c, _, name := greeted(t, local(l.Port))
			c.Close()
			if name == "" {
				t.Error("a connection was closed")
			}
			return name == want
		})
	}
	goTo("one")
	l.Split = name
	commit(p.store, listener(), split(mesh.Backend{Cluster: "two", Weight: 1}))
	goTo("two")
	commit(p.store, split(mesh.Backend{Cluster: "one", Weight: 1}))
	goTo("one")
	commit(p.store, split(mesh.Backend{Cluster: "two", Weight: 1}))
	goTo("two")
	l.Split = ""
	commit(p.store, listener(), map[string]proto.Message{name: (*corev3.TypedExtensionConfig)(nil)})
	goTo("one")
}

// hearer answers datagrams with its name, and counts whom it heard.
type hearer struct {
	mesh.Endpoint
	heard *atomic.Int64
}

func hear(t *testing.T, name string) hearer {
	t.Helper()
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := hearer{mesh.Endpoint{Address: "127.0.0.1", Port: uint32(s.LocalAddr().(*net.UDPAddr).Port)}, new(atomic.Int64)}
	go func() {
		for buffer := make([]byte, 1<<16); ; {
			n, from, err := s.ReadFrom(buffer)
			if err != nil {
				return
			}
			h.heard.Add(1)
			_, _ = s.WriteTo(append([]byte(name+" "), buffer[:n]...), from) // the test sees what is missing
		}
	}()
	return h
}

func (h hearer) weighing(weight uint32) mesh.Endpoint {
	h.Weight = weight
	return h.Endpoint
}

// session is a client's socket.
func session(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends a datagram and returns who answers it with the same text, or "" if nobody does for a while.
func ask(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	fmt.Fprint(c, text)
	_ = c.SetReadDeadline(time.Now().Add(time.Second)) // of a socket that is open it cannot fail
	buffer := make([]byte, 1<<16)
	n, err := c.Read(buffer)
	name, same := strings.CutSuffix(string(buffer[:n]), " "+text)
	if err != nil || !same {
		return ""
	}
	return name
}

// Sessions are shared out by the weights of endpoints, and what goes to where nobody listens is lost. A
// session stays with its endpoint when weights change, and goes on with another when that one is gone.
func TestUDP(t *testing.T) {
	t.Parallel()
	one, two, three := hear(t, "one"), hear(t, "two"), hear(t, "three")
	p := startPassing(t, nil)
	p.sendTo(one.Endpoint)
	eventually(t, "datagrams are passed on", func() bool { return ask(t, session(t, p.udp), "hello") == "one" })
	kept := session(t, p.udp)
	for _, text := range []string{"small", strings.Repeat("x", 9000)} {
		if name := ask(t, kept, text); name != "one" {
			t.Fatalf("a datagram of %d bytes is answered by %q", len(text), name)
		}
	}

	nobody := mesh.Endpoint{Address: "127.0.0.1", Port: porttest.Free(t, 1)[0], Weight: 20}
	p.sendTo(one.weighing(10), two.weighing(50), three.weighing(20), nobody)
	eventually(t, "the weights hold", func() bool { return ask(t, session(t, p.udp), "hello") == "two" })
	before := []int64{one.heard.Load(), two.heard.Load(), three.heard.Load()}
	sent := p.sessions(t)
	for range 200 {
		fmt.Fprint(session(t, p.udp), "hello")
	}
	eventually(t, "the proxy has seen all", func() bool { return p.sessions(t) == sent+200 })
	for i, c := range []struct {
		hearer
		share int64
	}{{one, 20}, {two, 100}, {three, 40}} {
		ask(t, session(t, local(c.Port)), "what was sent before this is heard by now")
		if got := c.heard.Load() - before[i] - 1; got < c.share-4 || got > c.share+4 {
			t.Errorf("%d of 200 sessions went to endpoint %d, %d should", got, i, c.share)
		}
	}
	if name := ask(t, kept, "hello"); name != "one" {
		t.Errorf("after a change of weights the session goes on with %q", name)
	}
	p.sendTo(two.Endpoint)
	eventually(t, "the session goes on with who is left", func() bool { return ask(t, kept, "hello") == "two" })
}

// sessions is how many the proxy has had.
func (p passing) sessions(t *testing.T) (n int) {
	t.Helper()
	for line := range strings.Lines(string(fetch(t, p.stats+envoy.StatsPath, "identity"))) {
		if strings.HasPrefix(line, "envoy_udp_") && strings.Contains(line, "downstream_sess_total") {
			fields := strings.Fields(line)
			_, _ = fmt.Sscan(fields[len(fields)-1], &n)
		}
	}
	return n
}
