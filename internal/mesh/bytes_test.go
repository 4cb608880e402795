package mesh

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/cluster"
)

func inShop(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "shop", Name: name} }

// byteWorld has a Gateway shop/edge with listeners, and a Service of each name, whose ports 53 of TCP and
// UDP have that many endpoints.
func byteWorld(listeners []gwv1.Listener, services map[string]int) (*Mesh, *cluster.Tables) {
	tables := cluster.NewTables()
	m := New(tables)
	tables.Graph.Commit(func() {
		tables.GatewayClasses.Set("weft", &gwv1.GatewayClass{Spec: gwv1.GatewayClassSpec{ControllerName: ControllerName}})
		tables.Gateways.Set("shop/edge", &gwv1.Gateway{ObjectMeta: inShop("edge"), Spec: gwv1.GatewaySpec{GatewayClassName: "weft", Listeners: listeners}})
		tables.Secrets.Set("shop/tls", &corev1.Secret{ObjectMeta: inShop("tls")})
		tables.GoodSecrets.Set("shop/tls", struct{}{}) // as far as anybody knows, it held a certificate
		for name, n := range services {
			tables.Services.Set("shop/"+name, &corev1.Service{ObjectMeta: inShop(name), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
				{Name: "udp", Port: 53, Protocol: corev1.ProtocolUDP}, {Name: "tcp", Port: 53},
			}}})
			s := &discoveryv1.EndpointSlice{ObjectMeta: inShop(name), AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{
				{Name: new("udp"), Port: new(int32(5353))}, {Name: new("tcp"), Port: new(int32(5353))},
			}}
			s.Labels = map[string]string{discoveryv1.LabelServiceName: name}
			for i := range n {
				s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{name + "." + string(rune('a'+i))}})
			}
			tables.EndpointSlices.Set("shop/"+name, s)
		}
	})
	return m, tables
}

func toDNS(name string, weight int32) gwv1.BackendRef {
	return gwv1.BackendRef{Weight: &weight, BackendObjectReference: gwv1.BackendObjectReference{Name: gwv1.ObjectName(name), Port: new(gwv1.PortNumber(53))}}
}

func toEdge() gwv1.CommonRouteSpec {
	return gwv1.CommonRouteSpec{ParentRefs: []gwv1.ParentReference{{Name: "edge"}}}
}

// Each endpoint has its part of its backend's weight, and what leads nowhere is lost by its weight, so
// that a backend gets its share whatever the number of its pods.
func TestDatagramWeights(t *testing.T) {
	port := []gwv1.Listener{{Name: "dns", Port: 53, Protocol: gwv1.UDPProtocolType}}
	for _, c := range []struct {
		says     string
		backends []gwv1.BackendRef
		want     map[string]float64 // by the first letter of the address
	}{
		{"one", []gwv1.BackendRef{toDNS("a", 5)}, map[string]float64{"a": 1}},
		{"weights", []gwv1.BackendRef{toDNS("a", 70), toDNS("c", 30), toDNS("b", 0)}, map[string]float64{"a": .7, "c": .3}},
		{"missing", []gwv1.BackendRef{toDNS("a", 1), toDNS("gone", 4)}, map[string]float64{"a": .2, "1": .8}},
		{"empty", []gwv1.BackendRef{toDNS("a", 1), toDNS("none", 1)}, map[string]float64{"a": .5, "1": .5}},
		{"twice", []gwv1.BackendRef{toDNS("a", 1), toDNS("a", 1), toDNS("b", 2)}, map[string]float64{"a": .5, "b": .5}},
		{"far apart", []gwv1.BackendRef{toDNS("a", 1_000_000), toDNS("c", 1)}, map[string]float64{"a": 1, "c": .000001}},
		{"nothing", []gwv1.BackendRef{toDNS("a", 0)}, nil},
		{"nowhere", []gwv1.BackendRef{toDNS("none", 1), toDNS("gone", 1)}, nil},
	} {
		m, tables := byteWorld(port, map[string]int{"a": 1, "b": 2, "c": 7, "none": 0})
		tables.Graph.Commit(func() {
			tables.UDPRoutes.Set("shop/r", &gwv1.UDPRoute{ObjectMeta: inShop("r"), Spec: gwv1.UDPRouteSpec{CommonRouteSpec: toEdge(), Rules: []gwv1.UDPRouteRule{{BackendRefs: c.backends}}}})
		})
		got, all := map[string]float64{}, 0.0
		for _, e := range m.Endpoints(nil, "gateway/shop/edge/53/udp", "").Addresses {
			got[e.Address[:1]] += float64(e.Weight)
			all += float64(e.Weight)
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", c.says, got, c.want)
		}
		for backend, share := range c.want {
			if part := got[backend] / all; part < share-.00001 || part > share+.00001 {
				t.Errorf("%s: backend %s has %f, want %f", c.says, backend, part, share)
			}
		}
	}
}

// A listener that ends TLS gives what no TLSRoute takes to the oldest TCPRoute.
func TestTCPRouteInsideTLS(t *testing.T) {
	listener := gwv1.Listener{Name: "dot", Port: 853, Protocol: gwv1.TLSProtocolType, TLS: &gwv1.ListenerTLSConfig{CertificateRefs: []gwv1.SecretObjectReference{{Name: "tls"}}}}
	m, tables := byteWorld([]gwv1.Listener{listener}, map[string]int{"a": 1, "b": 1, "c": 1})
	route := func(name string, year int) *gwv1.TCPRoute {
		r := &gwv1.TCPRoute{ObjectMeta: inShop(name), Spec: gwv1.TCPRouteSpec{CommonRouteSpec: toEdge(), Rules: []gwv1.TCPRouteRule{{BackendRefs: []gwv1.BackendRef{toDNS(name, 1)}}}}}
		r.CreationTimestamp = metav1.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		return r
	}
	chains := func() (out []string) {
		for _, c := range m.Listener(nil, "gateway/shop/edge/853").Chains {
			for _, b := range m.Split(nil, c.Split).Backends {
				out = append(out, c.Hostname+"→"+b.Cluster)
			}
		}
		return out
	}
	tables.Graph.Commit(func() {
		tables.TCPRoutes.Set("shop/a", route("a", 2002))
		tables.TCPRoutes.Set("shop/b", route("b", 2001))
		tables.TLSRoutes.Set("shop/c", &gwv1.TLSRoute{ObjectMeta: inShop("c"), Spec: gwv1.TLSRouteSpec{CommonRouteSpec: toEdge(), Hostnames: []gwv1.Hostname{"c.example"},
			Rules: []gwv1.TLSRouteRule{{BackendRefs: []gwv1.BackendRef{toDNS("c", 1)}}}}})
	})
	if got, want := chains(), []string{"→service/shop/b/53/tcp", "c.example→service/shop/c/53/tcp"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	tables.Graph.Commit(func() { tables.TCPRoutes.Delete("shop/b") })
	if got, want := chains(), []string{"→service/shop/a/53/tcp", "c.example→service/shop/c/53/tcp"}; !slices.Equal(got, want) {
		t.Errorf("without the oldest: %q, want %q", got, want)
	}
}
