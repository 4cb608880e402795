package envoy_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
)

// beside runs an Envoy in front of an app, as a sidecar is, and returns where it listens.
func beside(t *testing.T, app mesh.Endpoint) mesh.Endpoint {
	t.Helper()
	port := porttest.Free(t, 1)[0]
	envoytest.Start(t, &bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{
		Listeners: []*listenerv3.Listener{listening(t, port, inbound())},
		Clusters:  []*clusterv3.Cluster{appCluster(t, app)},
	}})
	at := mesh.Endpoint{Address: "127.0.0.1", Port: port}
	eventually(t, "the sidecar listens", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return at
}

// inbound is a manager in front of an app.
func inbound() *hcmv3.HttpConnectionManager {
	m := envoy.Hardened("inbound")
	m.LocalReplyConfig = envoy.UnsentReplies()
	m.HttpFilters = []*hcmv3.HttpFilter{envoy.Router()}
	m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
		Name:                    "inbound",
		ResponseHeadersToRemove: []string{envoy.UnsentHeader},
		ValidateClusters:        wrapperspb.Bool(false),
		VirtualHosts:            []*routev3.VirtualHost{{Name: "app", Domains: []string{"*"}, Routes: []*routev3.Route{toCluster("app")}}},
	}}
	return m
}

func toCluster(name string) *routev3.Route {
	return &routev3.Route{
		Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: name},
		}},
	}
}

func appCluster(t *testing.T, app mesh.Endpoint) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:           "app",
		LoadAssignment: envoy.Endpoints(mesh.Endpoints{Cluster: "app", Addresses: []mesh.Endpoint{app}}),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(t, &upstreamhttpv3.HttpProtocolOptions{
				RetryPolicy: envoy.RetryInbound(),
				UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_UseDownstreamProtocolConfig{
					UseDownstreamProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_UseDownstreamHttpConfig{
						HttpProtocolOptions:  &corev3.Http1ProtocolOptions{},
						Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
					},
				},
			}),
		},
	}
}

func listening(t *testing.T, port uint32, filters ...proto.Message) *listenerv3.Listener {
	chain := &listenerv3.FilterChain{}
	for i, f := range filters {
		chain.Filters = append(chain.Filters, &listenerv3.Filter{
			Name:       fmt.Sprintf("filter_%d", i),
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(t, f)},
		})
	}
	return &listenerv3.Listener{
		Name: fmt.Sprintf("port_%d", port),
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port}}}},
		FilterChains: []*listenerv3.FilterChain{chain},
	}
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	packed, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// dies is an app that resets each connection once it has read a request's head.
func dies(t *testing.T, seen *atomic.Int32) mesh.Endpoint {
	t.Helper()
	return listen(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			seen.Add(1)
		}
		_ = c.(*net.TCPConn).SetLinger(0)
	})
}

// A request that the sidecar beside a dead app could not pass on is sent to another, whatever its
// method. One that an app may have seen is not, and no app decides that.
func TestUnsent(t *testing.T) {
	var seen, liar atomic.Int32
	healthy := echoes(t, "app")["app"][0]
	dead := beside(t, closedPort(t))
	alive := beside(t, healthy)
	lies := beside(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		liar.Add(1)
		w.Header().Set(envoy.UnsentHeader, "true")
		w.WriteHeader(http.StatusServiceUnavailable)
	})[0])
	proxy := world{endpoints: map[string][]mesh.Endpoint{
		"half": {dead, alive}, "dead": {dead, beside(t, closedPort(t))},
		"dies": {beside(t, dies(t, &seen)), beside(t, dies(t, &seen))}, "lies": {lies},
	}, hosts: host(t, `
- matches: [{path: {value: /half}}]
  backendRefs: [{name: half}]
- matches: [{path: {value: /own}}]
  retry: {attempts: 3}
  backendRefs: [{name: half}]
- matches: [{path: {value: /dead}}]
  backendRefs: [{name: dead}]
- matches: [{path: {value: /dies}}]
  backendRefs: [{name: dies}]
- matches: [{path: {value: /lies}}]
  backendRefs: [{name: lies}]
`)}.start(t)
	for i := range 60 {
		path, headers := "/half", []string(nil)
		if i%3 == 1 {
			path = "/own"
		}
		if i%3 == 2 {
			headers = []string{"Content-Type", "application/grpc"}
		}
		response, got := proxy.send(t, "POST", path, headers...)
		if response.StatusCode != 200 || got.Backend != "app" {
			t.Fatalf("%d: POST %s %v: %d from %q", i, path, headers, response.StatusCode, got.Backend)
		}
	}
	for range 20 {
		response, err := client.Post(proxy.url+"/half", "text/plain", strings.NewReader(strings.Repeat("body", 50<<10)))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 200 {
			t.Fatalf("POST of 200 kB: %d", response.StatusCode)
		}
	}
	for path, want := range map[string]*atomic.Int32{"/dead": new(atomic.Int32), "/dies": &seen, "/lies": &liar} {
		response, _ := proxy.send(t, "POST", path)
		if response.StatusCode != 503 || response.Header.Get(envoy.UnsentHeader) != "" {
			t.Errorf("%s: %d, headers %v", path, response.StatusCode, response.Header)
		}
		if n := want.Load(); path != "/dead" && n != 1 {
			t.Errorf("%s: the apps got %d requests, want 1", path, n)
		}
	}
}

// What the tests above rely on: the sidecar marks its own answer, and never that of an app.
func TestUnsentReplies(t *testing.T) {
	var seen atomic.Int32
	for name, c := range map[string]struct {
		app    mesh.Endpoint
		marked string
	}{
		"closed": {closedPort(t), "true"},
		"dies":   {dies(t, &seen), "false"},
		"lies": {serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(envoy.UnsentHeader, "true")
			w.WriteHeader(http.StatusServiceUnavailable)
		})[0], ""},
	} {
		at := beside(t, c.app)
		response, err := client.Post(fmt.Sprintf("http://127.0.0.1:%d/", at.Port), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Header.Get(envoy.UnsentHeader); response.StatusCode != 503 || got != c.marked {
			t.Errorf("%s: %d, %s %q, want %q", name, response.StatusCode, envoy.UnsentHeader, got, c.marked)
		}
	}
}
