package core

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// city is one Gateway with many shops: a Service, an EndpointSlice and an HTTPRoute on a hostname
// of its own for each.
type city struct {
	*Core
	version int
	bytes   int // that the last commit published
}

func newCity(shops int) *city {
	c := &city{Core: New(xds.NewStore(nil), xds.NewFacts())}
	c.weigh()
	class := &gwv1.GatewayClass{ObjectMeta: c.meta("weft"), Spec: gwv1.GatewayClassSpec{ControllerName: mesh.ControllerName}}
	class.Namespace = ""
	gateway := &gwv1.Gateway{ObjectMeta: c.meta("front"), Spec: gwv1.GatewaySpec{GatewayClassName: "weft",
		Listeners: []gwv1.Listener{{Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}}}}
	t := c.Tables()
	t.Graph.Commit(func() {
		t.GatewayClasses.Set("weft", class)
		t.Gateways.Set("shop/front", gateway)
		for i := range shops {
			t.Services.Set(shopKey(i), c.service(i))
			t.EndpointSlices.Set(shopKey(i), c.slice(i, "10.0.0.1"))
			t.HTTPRoutes.Set(shopKey(i), c.route(i, "/"))
		}
	})
	c.Commit()
	return c
}

// weigh notes how many bytes a commit publishes.
func (c *city) weigh() {
	publish := c.publish
	c.publish = func(change xds.Change) {
		c.bytes = 0
		for _, r := range change.Resources {
			c.bytes += proto.Size(r)
		}
		publish(change)
	}
}

func shopName(i int) string { return fmt.Sprint("shop-", i) }
func shopKey(i int) string  { return "shop/" + shopName(i) }

func (c *city) meta(name string) metav1.ObjectMeta {
	c.version++
	return metav1.ObjectMeta{Namespace: "shop", Name: name, ResourceVersion: fmt.Sprint(c.version), Generation: int64(c.version)}
}

func (c *city) service(i int) *corev1.Service {
	return &corev1.Service{ObjectMeta: c.meta(shopName(i)), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
}

func (c *city) slice(i int, address string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: c.meta(shopName(i)), AddressType: discoveryv1.AddressTypeIPv4,
		Ports:     []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080))}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address}}}}
	s.Labels = map[string]string{discoveryv1.LabelServiceName: shopName(i)}
	return s
}

func (c *city) route(i int, path string) *gwv1.HTTPRoute {
	to := gwv1.HTTPBackendRef{}
	to.Name, to.Port = gwv1.ObjectName(shopName(i)), new(gwv1.PortNumber(80))
	r := &gwv1.HTTPRoute{ObjectMeta: c.meta(shopName(i))}
	r.Spec.ParentRefs = []gwv1.ParentReference{{Name: "front"}}
	r.Spec.Hostnames = []gwv1.Hostname{gwv1.Hostname(shopName(i) + ".test")}
	r.Spec.Rules = []gwv1.HTTPRouteRule{{BackendRefs: []gwv1.HTTPBackendRef{to},
		Matches: []gwv1.HTTPRouteMatch{{Path: &gwv1.HTTPPathMatch{Type: new(gwv1.PathMatchPathPrefix), Value: &path}}}}}
	return r
}

// each runs a change of one shop of 1,000 and of 10,000.
func each(b *testing.B, change func(c *city, shop, n int)) {
	for _, shops := range []int{1000, 10000} {
		b.Run(fmt.Sprint(shops, "routes"), func(b *testing.B) {
			c := newCity(shops)
			n := 0
			for b.Loop() {
				n++
				c.Tables().Graph.Commit(func() { change(c, n%shops, n) })
				c.Commit()
			}
			b.ReportMetric(float64(c.bytes), "wire-B/op")
		})
	}
}

// BenchmarkRouteChange: one route's path changes; one virtual host is made and published.
func BenchmarkRouteChange(b *testing.B) {
	each(b, func(c *city, shop, n int) {
		c.Tables().HTTPRoutes.Set(shopKey(shop), c.route(shop, fmt.Sprintf("/%06d", n)))
	})
}

// BenchmarkEndpointChange: one address of one Service changes.
func BenchmarkEndpointChange(b *testing.B) {
	each(b, func(c *city, shop, n int) {
		c.Tables().EndpointSlices.Set(shopKey(shop), c.slice(shop, fmt.Sprintf("10.1.%d.%d", n>>8&255, n&255)))
	})
}

// BenchmarkFromScratch: everything is computed anew, as a server without memory would.
func BenchmarkFromScratch(b *testing.B) {
	for _, shops := range []int{1000, 10000} {
		b.Run(fmt.Sprint(shops, "routes"), func(b *testing.B) {
			for b.Loop() {
				newCity(shops)
			}
		})
	}
}

// BenchmarkListenerSetChange: one of a Gateway's ListenerSets has another hostname.
func BenchmarkListenerSetChange(b *testing.B) {
	for _, sets := range []int{1000, 10000} {
		b.Run(fmt.Sprint(sets, "sets"), func(b *testing.B) {
			c := newCity(0)
			t := c.Tables()
			t.Graph.Commit(func() {
				g := &gwv1.Gateway{ObjectMeta: c.meta("front"), Spec: gwv1.GatewaySpec{GatewayClassName: "weft",
					Listeners:        []gwv1.Listener{{Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}},
					AllowedListeners: &gwv1.AllowedListeners{Namespaces: &gwv1.ListenerNamespaces{From: new(gwv1.NamespacesFromAll)}}}}
				t.Gateways.Set("shop/front", g)
				for i := range sets {
					t.Services.Set(shopKey(i), c.service(i))
					t.ListenerSets.Set(shopKey(i), c.listenerSet(i, shopName(i)+".test"))
					r := c.route(i, "/")
					r.Spec.ParentRefs = []gwv1.ParentReference{{Kind: new(gwv1.Kind(mesh.ListenerSet)), Name: gwv1.ObjectName(shopName(i))}}
					r.Spec.Hostnames = nil
					t.HTTPRoutes.Set(shopKey(i), r)
				}
			})
			c.Commit()
			n := 0
			for b.Loop() {
				n++
				i := n % sets
				t.Graph.Commit(func() { t.ListenerSets.Set(shopKey(i), c.listenerSet(i, fmt.Sprintf("%s-%d.test", shopName(i), n))) })
				c.Commit()
			}
			b.ReportMetric(float64(c.bytes), "wire-B/op")
		})
	}
}

func (c *city) listenerSet(i int, host string) *gwv1.ListenerSet {
	s := &gwv1.ListenerSet{ObjectMeta: c.meta(shopName(i))}
	s.Spec.ParentRef.Name = "front"
	s.Spec.Listeners = []gwv1.ListenerEntry{{Name: "web", Port: 80, Protocol: gwv1.HTTPProtocolType, Hostname: new(gwv1.Hostname(host))}}
	return s
}
