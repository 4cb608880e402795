package envoy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// tried has a policy in Shadow close every port that is open.
func tried(in mesh.Inbound) mesh.Inbound {
	in.Shadow, in.Identity = "shop/strict", appID
	for i := range in.Ports {
		in.Ports[i].Shadow = "shop/strict"
	}
	return in
}

const denied = "envoy_weft_shadow_denied_total"

// at has a listener of a sidecar listen on a port of this machine, with certificates of the test.
func at(t *testing.T, port uint32, l *listenerv3.Listener) *listenerv3.Listener {
	t.Helper()
	l.Name = fmt.Sprint(l.Name, " ", port)
	l.Address.GetSocketAddress().PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: port}
	for _, chain := range l.FilterChains {
		if chain.TransportSocket != nil {
			with := secrets(t, appID)
			with.AlpnProtocols = []string{"h2", "http/1.1"}
			chain.TransportSocket = socket(t, &tlsv3.DownstreamTlsContext{CommonTlsContext: with, RequireClientCertificate: wrapperspb.Bool(true)})
		}
	}
	return inlined(t, l)
}

// trying is an Envoy with these listeners, in front of an app that speaks HTTP and one that does not.
func trying(t *testing.T, listeners ...*listenerv3.Listener) *envoytest.Envoy {
	t.Helper()
	web, raw := serve(t, func(http.ResponseWriter, *http.Request) {})[0], repeats(t)
	resources := &bootstrapv3.Bootstrap_StaticResources{Listeners: listeners, Clusters: []*clusterv3.Cluster{
		app(mesh.AppHTTP1, web), app(mesh.AppHTTP2, web), app(mesh.AppTCP, raw), app(mesh.Passthrough, raw),
	}}
	e := counting(t, resources)
	e.Until("Envoy is live", func() bool { return e.Counter("server.live") == 1 })
	return e
}

// uncounted wants no series of what would be denied to have this label.
func uncounted(t *testing.T, e *envoytest.Envoy, label, value string) {
	t.Helper()
	for name, n := range series(e) {
		if strings.HasPrefix(name, denied+"{") && strings.Contains(name, fmt.Sprintf("%s=%q", label, value)) {
			t.Errorf("%s is %s", name, n)
		}
	}
}

// says sends a line in plaintext, and hears it back; the connection stays open.
func says(t *testing.T, port uint32, line string) {
	t.Helper()
	c, heard := dial(t, port), make([]byte, len(line))
	if _, err := io.WriteString(c, line); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, heard); err != nil || string(heard) != line {
		t.Fatalf("said %q, heard %q: %v", line, heard, err)
	}
}

// gets asks in plaintext.
func gets(t *testing.T, port uint32, path string) {
	t.Helper()
	if got := status(fmt.Sprintf("http://127.0.0.1:%d%s", port, path)); got != http.StatusOK {
		t.Fatalf("%s at port %d: %d", path, port, got)
	}
}

// TestShadowMTLS: plaintext passes and is counted, as requests and as connections that are still open; mTLS,
// and a port that no policy in Shadow is about, are not.
func TestShadowMTLS(t *testing.T) {
	t.Parallel()
	ports := porttest.Free(t, 5)
	web, raw, free, named, other := ports[0], ports[1], ports[2], ports[3], ports[4]
	in := tried(mesh.Inbound{TrustDomain: "mesh.test", Mode: mesh.MTLSPermissive, ConnectionAge: time.Hour, Telemetry: everything, Ports: []mesh.InboundPort{
		{Port: int32(web), Protocol: mesh.HTTP1, Mode: mesh.MTLSPermissive, Service: "shop/cart", Of: 80},
		{Port: int32(raw), Protocol: mesh.TCP, Mode: mesh.MTLSPermissive, Service: "shop/cart", Of: 5432},
		{Port: int32(free), Protocol: mesh.HTTP1, Mode: mesh.MTLSPermissive, Service: "shop/cart", Of: 81},
	}})
	in.Ports[2].Shadow, in.Others = "", []int32{1, int32(named)}
	var listeners []*listenerv3.Listener
	for _, port := range ports {
		listeners = append(listeners, at(t, port, envoy.Inbound(in)))
	}
	e := trying(t, listeners...)

	meets(t, web, "mesh-h1", "http/1.1").isServed()
	meets(t, raw, "mesh").echoes("from a peer")
	gets(t, free, "/")
	gets(t, web, "/")
	gets(t, web, "/again")
	gets(t, other, "/")
	gets(t, named, "/")
	says(t, raw, "hello")
	says(t, other, "SSH-2.0-stranger\r\n")
	_ = tls.Client(dial(t, raw), &tls.Config{InsecureSkipVerify: true}).Handshake() // with the app, which speaks none

	for _, of := range []string{"80", "81"} {
		counted(t, e, "1", "envoy_weft_requests_total", "destination_port", of, "tls_version", map[string]string{"80": "TLSv1.3", "81": ""}[of])
	}
	counted(t, e, "1", "envoy_weft_tcp_connections_opened_total", "destination_port", "5432", "tls_version", "TLSv1.3")
	who := []string{"reporter", "destination", "section", "mtls", "policy", "shop/strict", "destination_principal", appID, "source_principal", ""}
	service := func(pods uint32, port string) []string {
		return append(who[:len(who):len(who)], "destination_service_namespace", "shop", "destination_service_name", "cart", "destination_port", port, "pod_port", fmt.Sprint(pods))
	}
	counted(t, e, "2", denied, service(web, "80")...)
	counted(t, e, "2", denied, service(raw, "5432")...)
	none := append(who, "destination_service_name", "", "destination_port", "")
	counted(t, e, "1", denied, append(none, "pod_port", fmt.Sprint(named))...)
	counted(t, e, "2", denied, append(none[:len(none):len(none)], "pod_port", "other")...)
	uncounted(t, e, "destination_port", "81")

	marked := map[string]any{"path": "/again", "shadow_policy": "shop/strict", "shadow_result": "denied", "source_principal": "", "status": 200}
	wrote(t, e, marked)
	wrote(t, e, map[string]any{"path": "/", "shadow_policy": "", "source_principal": callerID})
}

// TestShadowMTLSAndProbes: of what the node sends, the probes are not counted, as Strict would let them pass;
// where they cannot be told from other connections, none is.
func TestShadowMTLSAndProbes(t *testing.T) {
	t.Parallel()
	ports := porttest.Free(t, 3)
	web, raw, other := ports[0], ports[1], ports[2]
	in := tried(mesh.Inbound{TrustDomain: "mesh.test", Mode: mesh.MTLSPermissive, ConnectionAge: time.Hour, Telemetry: everything, Ports: []mesh.InboundPort{
		{Port: int32(web), Protocol: mesh.HTTP1, Mode: mesh.MTLSPermissive, Service: "shop/cart", Of: 80},
		{Port: int32(raw), Protocol: mesh.TCP, Mode: mesh.MTLSPermissive, Service: "shop/cart", Of: 5432},
	}, Probes: []sidecar.Probe{
		{Port: int32(web), Kind: sidecar.HTTP, Path: "/live"}, {Port: int32(web), Kind: sidecar.HTTP, Path: "/a//b/../?full=1"},
		{Port: int32(raw), Kind: sidecar.HTTP, Path: "/live"}, {Port: int32(other), Kind: sidecar.HTTP, Path: `/it's "live"`},
	}})
	var listeners []*listenerv3.Listener
	for _, port := range ports {
		listeners = append(listeners, at(t, port, envoy.NodeInbound(in)))
	}
	e := trying(t, listeners...)

	for _, path := range []string{"/live", "/a//b/../?full=1", "/live?x", "/a//b"} {
		gets(t, web, path)
	}
	says(t, raw, "GET /live HTTP/1.1\r\n\r\n")
	gets(t, other, "/live")
	counted(t, e, "4", "envoy_weft_requests_total", "destination_port", "80")
	counted(t, e, "2", denied, "destination_port", "80", "section", "mtls")
	counted(t, e, "1", "envoy_weft_tcp_connections_opened_total", "destination_port", "5432")
	uncounted(t, e, "destination_port", "5432")
	counted(t, e, "1", denied, "destination_port", "", "section", "mtls")
}

// TestShadowEgress: a connection to an unknown destination passes and is counted while it is open.
func TestShadowEgress(t *testing.T) {
	t.Parallel()
	ports := porttest.Free(t, 2)
	tried := mesh.Outbound{Egress: mesh.EgressAllow, Shadow: "shop/no-egress", Identity: callerID, Telemetry: everything}
	free := tried
	free.Shadow = ""
	e := trying(t, at(t, ports[0], envoy.Outbound(tried)), at(t, ports[1], envoy.Outbound(free)))
	says(t, ports[0], "hello")
	says(t, ports[1], "hello")
	counted(t, e, "2", "envoy_weft_tcp_connections_opened_total", "reporter", "source")
	counted(t, e, "1", denied, "reporter", "source", "section", "egress", "policy", "shop/no-egress", "source_principal", callerID, "destination_principal", "")
}
