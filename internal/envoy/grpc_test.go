package envoy_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/mesh"
)

// grpcHost is the virtual host that comes of rules as people write them in a GRPCRoute's spec.rules.
// Each Service that a backendRef names exists, but for "missing"; that of "declared" declares gRPC.
func grpcHost(t *testing.T, text string) mesh.VirtualHost {
	t.Helper()
	tables := cluster.NewTables()
	m := mesh.New(tables)
	at := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 1}
	}
	route := &gwv1.GRPCRoute{ObjectMeta: at("web")}
	route.Spec.ParentRefs = []gwv1.ParentReference{{Name: "web"}}
	if err := yaml.UnmarshalStrict([]byte(text), &route.Spec.Rules); err != nil {
		t.Fatalf("rules: %v", err)
	}
	tables.Graph.Commit(func() {
		tables.GatewayClasses.Set("weft", &gwv1.GatewayClass{Spec: gwv1.GatewayClassSpec{ControllerName: mesh.ControllerName}})
		gateway := &gwv1.Gateway{ObjectMeta: at("web"), Spec: gwv1.GatewaySpec{GatewayClassName: "weft"}}
		gateway.Spec.Listeners = []gwv1.Listener{{Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}}
		tables.Gateways.Set("shop/web", gateway)
		tables.GRPCRoutes.Set("shop/web", route)
		for _, name := range named(route.Spec.Rules) {
			svc := &corev1.Service{ObjectMeta: at(name), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
			if name == "declared" {
				svc.Spec.Ports[0].AppProtocol = new("grpc")
			}
			tables.Services.Set("shop/"+name, svc)
		}
	})
	return m.VirtualHost(nil, "gateway/shop/web/80/*", "")
}

// named are the Services that rules name, but for "missing".
func named(rules []gwv1.GRPCRouteRule) (out []string) {
	for _, r := range rules {
		for _, b := range r.BackendRefs {
			out = append(out, string(b.Name))
		}
		for _, f := range r.Filters {
			if f.RequestMirror != nil {
				out = append(out, string(f.RequestMirror.BackendRef.Name))
			}
		}
	}
	var there []string
	for _, name := range out {
		if name != "missing" {
			there = append(there, name)
		}
	}
	return there
}

// callees are gRPC servers that answer any method with their name, by the names of their clusters.
func callees(t *testing.T, names ...string) map[string][]mesh.Endpoint {
	t.Helper()
	all := map[string][]mesh.Endpoint{}
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
				return err
			}
			if err := stream.SetHeader(metadata.Pairs("callee", name)); err != nil {
				return err
			}
			return stream.SendMsg(&emptypb.Empty{})
		}))
		go func() { _ = server.Serve(l) }() // it ends with Stop
		t.Cleanup(server.Stop)
		all[mesh.OverHTTP2(fmt.Sprintf("service/shop/%s/80", name))] = []mesh.Endpoint{endpointAt(l)}
	}
	return all
}

// The order is that of GRPCRouteRule.matches; a call that is not served is told so in gRPC's words.
func TestCalls(t *testing.T) {
	w := world{
		endpoints: callees(t, "any", "service", "method", "exact", "regex", "header"),
		hosts: []mesh.VirtualHost{grpcHost(t, `
- matches: [{method: {method: List}}]
  backendRefs: [{name: method, port: 80}]
- matches: [{method: {service: shop.Cart}}]
  backendRefs: [{name: service, port: 80}]
- matches: [{method: {service: shop.Cart, method: Add}}]
  backendRefs: [{name: exact, port: 80}]
- matches: [{method: {service: shop.Cart}, headers: [{name: tier, value: gold}]}]
  backendRefs: [{name: header, port: 80}]
- matches: [{method: {type: RegularExpression, service: 'shop\.v\d+\.(Cart|Stock)'}}]
  backendRefs: [{name: regex, port: 80}]
- matches: [{method: {service: shop.Gone}}]
  backendRefs: [{name: missing, port: 80}]
- matches: [{headers: [{name: tier, type: RegularExpression, value: 'silver|gold'}]}]
  backendRefs: [{name: any, port: 80}]
`)},
	}
	proxy := w.start(t)
	conn, err := grpc.NewClient(strings.TrimPrefix(proxy.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, c := range []struct {
		method string
		tier   string
		want   string
		code   codes.Code
	}{
		{"/shop.Cart/Add", "", "exact", codes.OK},
		{"/shop.Cart/Add", "gold", "exact", codes.OK},
		{"/shop.Cart/List", "", "service", codes.OK}, // its service is the longer: it counts before the method
		{"/shop.Cart/Remove", "gold", "header", codes.OK},
		{"/shop.Carts/Remove", "", "", codes.Unimplemented},
		{"/shop.cart/Add", "", "", codes.Unimplemented},
		{"/shop.Stock/List", "", "method", codes.OK},
		{"/shop.v2.Stock/Add", "", "regex", codes.OK},
		{"/shop.v2.Stocks/Add", "", "", codes.Unimplemented},
		{"/shop.Gone/Add", "", "", codes.Unavailable},
		{"/shop.Stock/Add", "silver", "any", codes.OK},
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "tier", c.tier)
		var header metadata.MD
		err := conn.Invoke(ctx, c.method, &emptypb.Empty{}, &emptypb.Empty{}, grpc.Header(&header))
		if got := strings.Join(header.Get("callee"), ","); got != c.want || grpcstatus.Code(err) != c.code {
			t.Errorf("%s %s: %q %v, want %q %v", c.method, c.tier, got, err, c.want, c.code)
		}
	}
}

// The share of a backend that cannot be resolved is UNAVAILABLE, and the others have theirs.
func TestCallShares(t *testing.T) {
	w := world{endpoints: callees(t, "a", "b"), hosts: []mesh.VirtualHost{grpcHost(t, `
- backendRefs: [{name: a, port: 80, weight: 2}, {name: b, port: 80, weight: 1}, {name: missing, port: 80, weight: 1}, {name: missing, port: 81, weight: 0}]
`)}}
	proxy := w.start(t)
	conn, err := grpc.NewClient(strings.TrimPrefix(proxy.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const n = 600
	seen := map[string]int{}
	for range n {
		var header metadata.MD
		err := conn.Invoke(t.Context(), "/shop.Cart/Add", &emptypb.Empty{}, &emptypb.Empty{}, grpc.Header(&header))
		seen[strings.Join(header.Get("callee"), ",")+grpcstatus.Code(err).String()]++
	}
	want := map[string]float64{"aOK": 0.5, "bOK": 0.25, "Unavailable": 0.25}
	for what, share := range want {
		if got := float64(seen[what]) / n; got < share-0.08 || got > share+0.08 || len(seen) != len(want) {
			t.Errorf("%s: %.2f, want %.2f; all: %v", what, got, share, seen)
		}
	}
}
