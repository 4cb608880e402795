package envoy_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	netstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/internal/smi"
	"github.com/weft-mesh/weft/internal/wire"
	"github.com/weft-mesh/weft/internal/xds"
)

// accessTo are the three filters, as the pods of an account have them who let these in.
func accessTo(guarded bool, allows ...smi.Allow) map[string]proto.Message {
	out := map[string]proto.Message{mesh.Guards: envoy.InboundGuards(mesh.InboundGuards{})}
	for _, name := range []string{mesh.AccessRequests, mesh.AccessBytes, mesh.AccessUndeclared} {
		out[name] = envoy.Access(mesh.Access{Name: name, Guarded: guarded, TrustDomain: "mesh.test", Allows: allows})
	}
	return out
}

func unguarded() map[string]proto.Message { return accessTo(false) }

// inlined has the filters of a listener that come by discovery in it.
func inlined(t *testing.T, l *listenerv3.Listener) *listenerv3.Listener {
	t.Helper()
	return filled(t, l, unguarded())
}

// filled has these in place of what comes by discovery.
func filled(t *testing.T, l *listenerv3.Listener, free map[string]proto.Message) *listenerv3.Listener {
	t.Helper()
	for _, chain := range l.FilterChains {
		for _, f := range chain.Filters {
			if found, is := free[f.Name]; is {
				f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: found.(*corev3.TypedExtensionConfig).TypedConfig}
				continue
			}
			m := &hcmv3.HttpConnectionManager{}
			if f.Name != "envoy.filters.network.http_connection_manager" {
				continue
			}
			inside(t, f.GetTypedConfig(), m, func() {
				for _, h := range m.HttpFilters {
					if found, is := free[h.Name]; is {
						h.ConfigType = &hcmv3.HttpFilter_TypedConfig{TypedConfig: found.(*corev3.TypedExtensionConfig).TypedConfig}
					}
				}
			})
		}
	}
	return l
}

// guard is a sidecar in front of an app, with a port of each way to read one. The app says which path it was
// asked for, and where it speaks first, that it is there.
type guard struct {
	*station
	web, raw, loose uint32 // declared to carry HTTP, bytes, and nothing
	probed          uint32 // of what the node sends
}

const opening = "the app\n"

func startGuard(t *testing.T) guard {
	t.Helper()
	g := newGuard(t, unguarded())
	eventually(t, "the sidecar is ready", g.isReady)
	return g
}

// newGuard starts one that is told of these filters.
func newGuard(t *testing.T, filters map[string]proto.Message) guard {
	t.Helper()
	operatorKey, store, ports := keyPair(t, operatorName), xds.NewStore(nil), porttest.Free(t, 4)
	g := guard{web: ports[0], raw: ports[1], loose: ports[2], probed: ports[3]}
	in := mesh.Inbound{TrustDomain: "mesh.test", Mode: mesh.MTLSPermissive, ConnectionAge: time.Hour, Guarded: true, Telemetry: everything, Ports: []mesh.InboundPort{
		{Port: int32(g.web), Protocol: mesh.HTTP1, Mode: mesh.MTLSPermissive, Service: "shop/cart", Of: 80},
		{Port: int32(g.raw), Protocol: mesh.TCP, Mode: mesh.MTLSPermissive, Service: "shop/cart", Of: 5432},
	}, Probes: []sidecar.Probe{{Port: int32(ports[3]), Kind: sidecar.HTTP, Path: "/live"}}}
	listeners := map[string]proto.Message{}
	for i, port := range ports {
		name, l := fmt.Sprint(mesh.InboundListener, i), envoy.Inbound(in)
		if i == 3 {
			l = envoy.NodeInbound(in)
		}
		l.Name = name
		l.Address.GetSocketAddress().PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: port}
		redirected(l)
		listeners[name] = l
	}
	web := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RequestURI) })[0]
	raw := listen(t, func(c net.Conn) {
		fmt.Fprint(c, opening)
		_, _ = io.Copy(c, c) // the caller sees what is missing
	})
	commitTo(store, "cart", rootsSecret(), identitySecret(t, appID), filters, listeners, map[string]proto.Message{
		mesh.AppHTTP1: app(mesh.AppHTTP1, web), mesh.AppHTTP2: app(mesh.AppHTTP2, web), mesh.AppTCP: appWherever(raw)})
	g.station = startSidecar(t, store, operator(t, store, operatorKey, known{}), operatorKey, "cart")
	return g
}

// redirected has a listener know where a connection was going, as it does of those that the kernel redirects to it:
// here they go to the listener itself, of which the kernel says nothing where it tracks no connections.
func redirected(l *listenerv3.Listener) {
	first := &netstatev3.Config{OnNewConnection: []*filterstatev3.FilterStateValue{{
		Key: &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: "envoy.network.transport_socket.original_dst_address"},
		Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: "%DOWNSTREAM_LOCAL_ADDRESS%"},
			}},
		}},
	}}}
	for _, chain := range append(l.FilterChains, l.DefaultFilterChain) {
		if chain != nil {
			chain.Filters = append([]*listenerv3.Filter{{
				Name: "redirected", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: wire.Any(first)},
			}}, chain.Filters...)
		}
	}
}

// appWherever is the cluster that leads where a connection was going, but for the port: here the listener
// itself has that.
func appWherever(at mesh.Endpoint) *clusterv3.Cluster {
	c := envoy.FixedCluster(mesh.AppTCP)
	c.UpstreamBindConfig = nil
	c.LbConfig = &clusterv3.Cluster_OriginalDstLbConfig_{OriginalDstLbConfig: &clusterv3.Cluster_OriginalDstLbConfig{UpstreamPortOverride: wrapperspb.UInt32(at.Port)}}
	return c
}

// lets has these in, and nobody else, as soon as it returns.
func (g guard) lets(t *testing.T, allows ...smi.Allow) {
	t.Helper()
	commitTo(g.store, g.account, accessTo(true, allows...))
	g.knows(t)
	g.knows(t) // what was committed before the first has been taken once the second has
}

// as opens a connection by mTLS with a certificate of these names.
func as(t *testing.T, port uint32, offer string, names ...string) *tls.Conn {
	t.Helper()
	chain, key := signed(t, names[0], names[1:]...)
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	offers := []string{offer}
	if offer != "mesh" {
		offers = append(offers, "http/1.1")
	}
	var c *tls.Conn
	eventually(t, "a handshake", func() bool { // again if, on a busy machine, it was begun so late that it was read as plaintext
		c = tls.Client(dial(t, port), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, NextProtos: offers})
		if err := c.Handshake(); err != nil {
			t.Logf("no handshake: %v", err)
			_ = c.Close()
			return false
		}
		return true
	})
	return c
}

// hears is what an app that speaks first says to who does not; "" if the connection was closed.
func hears(t *testing.T, c net.Conn) string {
	t.Helper()
	line, err := bufio.NewReader(c).ReadString('\n')
	if timeout, is := err.(net.Error); is && timeout.Timeout() {
		t.Error("the connection is neither served nor closed")
	}
	return line
}

func account(name string) string { return "spiffe://mesh.test/ns/shop/sa/" + name }

// TestAccessOfBytes: who may not send bytes hears nothing of an app that speaks first; who has another name
// beside one that may, who shows no certificate, and who calls bytes what may only be requests, are refused
// too. A connection that was let in stays when its caller may open no other.
func TestAccessOfBytes(t *testing.T) {
	t.Parallel()
	g := startGuard(t)
	from := []string{"shop/web"}
	g.lets(t, smi.Allow{Name: "traffictarget/shop/cart/0", Sources: from, Traffic: smi.Bytes})
	kept := as(t, g.raw, "mesh", account("web"))
	if got := hears(t, kept); got != opening {
		t.Fatalf("who is let in hears %q", got)
	}
	for what, c := range map[string]net.Conn{
		"another":                         as(t, g.raw, "mesh", account("batch")),
		"another, where none is declared": as(t, g.loose, "mesh", account("batch")),
		"two names":                       as(t, g.raw, "mesh", account("web"), account("batch")),
		"two names the other way":         as(t, g.raw, "mesh", account("batch"), account("web")),
		"plaintext":                       dial(t, g.raw),
		"plaintext, none declared":        dial(t, g.loose),
	} {
		if got := hears(t, c); got != "" {
			t.Errorf("%s hears %q", what, got)
		}
	}
	says := func(of map[string]any) {
		eventually(t, fmt.Sprint("a line of ", of), func() bool { return tells(g.log.String(), of) })
	}
	says(map[string]any{"source_principal": account("batch"), "policy": "none", "policy_result": "denied"})

	g.lets(t, smi.Allow{Name: "traffictarget/shop/cart/0", Sources: from, Ports: []int32{int32(g.loose)}, Traffic: smi.Bytes})
	if a, b := hears(t, as(t, g.raw, "mesh", account("web"))), hears(t, as(t, g.loose, "mesh", account("web"))); a != "" || b != opening {
		t.Errorf("by port: %q, %q", a, b)
	}
	g.lets(t, smi.Allow{Name: "traffictarget/shop/cart/0", Sources: from, Traffic: smi.DeclaredBytes})
	if a, b := hears(t, as(t, g.raw, "mesh", account("web"))), hears(t, as(t, g.loose, "mesh", account("web"))); a != opening || b != "" {
		t.Errorf("beside requests: %q, %q", a, b)
	}
	g.lets(t, smi.Allow{Name: "traffictarget/shop/cart/0", Sources: from, Request: smi.Request{Path: ".*"}})
	if a, b := hears(t, as(t, g.raw, "mesh", account("web"))), hears(t, as(t, g.loose, "mesh", account("web"))); a != "" || b != "" {
		t.Errorf("requests alone: %q, %q", a, b)
	}
	var many []smi.Allow
	for i := range 100 {
		a := smi.Allow{Name: fmt.Sprint("traffictarget/shop/", strings.Repeat("long", 30), "/", i), Traffic: smi.Bytes, Ports: []int32{int32(g.raw), 1, 2, 3}}
		for j := range 3 {
			a.Sources = append(a.Sources, fmt.Sprint("shop/", strings.Repeat("x", 100), i, "-", j))
		}
		many = append(many, a)
	}
	many[99].Sources[2] = "shop/web"
	g.lets(t, many...)
	if a, b := hears(t, as(t, g.raw, "mesh", account("web"))), hears(t, as(t, g.loose, "mesh", account("web"))); a != opening || b != "" {
		t.Errorf("the last of many: %q, %q", a, b)
	}
	g.lets(t)
	if got := hears(t, as(t, g.raw, "mesh", account("web"))); got != "" {
		t.Errorf("who is let in no more hears %q", got)
	}
	fmt.Fprintln(kept, "still there")
	if got := hears(t, kept); got != "still there\n" {
		t.Errorf("the connection that was let in before: %q", got)
	}
}

// TestAccessWithoutFilters: a sidecar that has not been told who may call is not ready, and nobody gets in; nor
// does anybody when what it was told is taken back.
func TestAccessWithoutFilters(t *testing.T) {
	t.Parallel()
	g := newGuard(t, nil)
	g.knows(t)
	g.knows(t)
	if !g.refuses() || status(fmt.Sprintf("http://127.0.0.1:%d/", g.web)) != 0 {
		t.Fatal("the sidecar serves without its filters")
	}
	commitTo(g.store, g.account, unguarded())
	eventually(t, "the sidecar is ready", g.isReady)
	if got := hears(t, as(t, g.raw, "mesh", account("web"))); got != opening {
		t.Fatalf("everybody is let in, and hears %q", got)
	}
	for _, names := range [][]string{
		{account("web"), account("batch")}, {account("web"), account("web")}, {account("web"), "https://web"}, {"https://web", account("web")}, {account("web") + "/x"},
	} {
		if got := hears(t, as(t, g.raw, "mesh", names...)); got != "" {
			t.Errorf("where everybody is let in, %v hears %q", names, got)
		}
	}
	gone := map[string]proto.Message{}
	for name := range unguarded() {
		gone[name] = (*corev3.TypedExtensionConfig)(nil)
	}
	commitTo(g.store, g.account, gone)
	eventually(t, "requests are refused", func() bool { return status(fmt.Sprintf("http://127.0.0.1:%d/", g.web)) == http.StatusForbidden })
	for _, port := range []uint32{g.raw, g.loose} {
		if got := hears(t, as(t, port, "mesh", account("web"))); got != "" {
			t.Errorf("without filters, port %d says %q", port, got)
		}
	}
}

// TestAccessAndProbes: where nobody is let in, the kubelet is, and asks no more than it is to.
func TestAccessAndProbes(t *testing.T) {
	t.Parallel()
	g := startGuard(t)
	g.lets(t)
	for path, want := range map[string]int{"/live": http.StatusOK, "/live?x": http.StatusForbidden, "/": http.StatusForbidden} {
		if got := status(fmt.Sprintf("http://127.0.0.1:%d%s", g.probed, path)); got != want {
			t.Errorf("%s: %d, wanted %d", path, got, want)
		}
	}
}

func tells(lines string, of map[string]any) bool {
	for line := range strings.Lines(lines) {
		all := true
		for k, v := range of {
			all = all && strings.Contains(line, fmt.Sprintf("%q:%q", k, v))
		}
		if all {
			return true
		}
	}
	return false
}
