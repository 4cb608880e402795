package core

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/internal/xds"
)

// town is a mesh: a Service for each shop, all in one namespace, with two pods that share a
// ServiceAccount and a template; ten more in the namespace "mall"; and a policy about all.
type town struct{ *city }

const podsOfShop = 2

func newTown(shops int) town {
	c := town{&city{Core: New(xds.NewStore(mesh.BasesOf), xds.NewFacts())}}
	c.weigh()
	t := c.Tables()
	t.Graph.Commit(func() {
		t.MeshPolicies.Set("weft-system/all", c.policy("weft-system", "all", mesh.MTLSPermissive))
		for i := range shops {
			c.open("shop", i)
		}
		for i := range 10 {
			c.open("mall", i)
		}
	})
	c.Commit()
	return c
}

// open sets a shop's objects.
func (c town) open(namespace string, i int) {
	t := c.Tables()
	t.Services.Set(namespace+"/"+shopName(i), c.meshed(namespace, i))
	t.EndpointSlices.Set(namespace+"/"+shopName(i), c.endpoints(namespace, i, true))
	for n := range podsOfShop {
		name := fmt.Sprintf("%s-%d", shopName(i), n)
		t.Pods.Set(namespace+"/"+name, c.pod(namespace, name, shopName(i), podIP(namespace, i, n)))
	}
}

func podIP(namespace string, i, n int) string {
	net := map[string]int{"shop": 1, "mall": 2}[namespace]
	return fmt.Sprintf("10.%d.%d.%d", net<<6|i>>13, i>>5&255, i<<3&255|n)
}

func (c town) in(namespace, name string) metav1.ObjectMeta {
	m := c.meta(name)
	m.Namespace, m.UID = namespace, types.UID(namespace+"/"+name)
	return m
}

func (c town) meshed(namespace string, i int) *corev1.Service {
	s := &corev1.Service{ObjectMeta: c.in(namespace, shopName(i))}
	s.Spec = corev1.ServiceSpec{
		Ports:      []corev1.ServicePort{{Name: "http", Port: 80}},
		Selector:   map[string]string{"app": shopName(i)},
		ClusterIPs: []string{fmt.Sprintf("10.%d.%d.%d", 192+len(namespace), i>>8, i&255)},
	}
	return s
}

func (c town) pod(namespace, name, app, ip string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: c.in(namespace, name)}
	p.Labels = map[string]string{"app": app, "pod-template-hash": "5d8f7c"}
	p.Spec.ServiceAccountName = app
	p.Spec.InitContainers = []corev1.Container{{Name: sidecar.ProxyContainer}}
	p.Spec.Containers = []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}}}}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: ip}}}
	return p
}

// endpoints are a shop's two pods, of which the second is ready or not.
func (c town) endpoints(namespace string, i int, ready bool) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: c.in(namespace, shopName(i)), AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(80))}}}
	s.Labels = map[string]string{discoveryv1.LabelServiceName: shopName(i)}
	for n := range podsOfShop {
		name := fmt.Sprintf("%s-%d", shopName(i), n)
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{podIP(namespace, i, n)},
			Conditions: discoveryv1.EndpointConditions{Ready: new(n == 0 || ready), Serving: new(n == 0 || ready)},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: name, UID: types.UID(namespace + "/" + name)},
		})
	}
	return s
}

func (c town) policy(namespace, name string, mode mesh.MTLSMode) *v1alpha1.MeshPolicy {
	p := &v1alpha1.MeshPolicy{ObjectMeta: c.in(namespace, name)}
	p.Spec.MTLS = &v1alpha1.MTLS{Mode: mode}
	return p
}

// change runs a change of a mesh of 1,000 Services and of one of 10,000.
func (town) change(b *testing.B, change func(c town, shop, n int)) {
	for _, shops := range []int{1000, 10000} {
		b.Run(fmt.Sprint(shops, "services"), func(b *testing.B) {
			b.ReportAllocs()
			c := newTown(shops)
			n := 0
			for b.Loop() {
				n++
				c.bytes = 0
				c.Tables().Graph.Commit(func() { change(c, n%shops, n) })
				c.Commit()
			}
			b.ReportMetric(float64(c.bytes), "wire-B/op")
		})
	}
}

// BenchmarkMeshEndpoint: one pod becomes ready, or is no longer.
func BenchmarkMeshEndpoint(b *testing.B) {
	town{}.change(b, func(c town, shop, n int) {
		c.Tables().EndpointSlices.Set(shopKey(shop), c.endpoints("shop", shop, n/1000%2 == 1))
	})
}

// arrive sets a pod, and deletes the one that came before it.
func (c town) arrive(n int, app string) {
	name := func(n int) string { return fmt.Sprint("new-", n) }
	c.Tables().Pods.Set("shop/"+name(n), c.pod("shop", name(n), app, fmt.Sprintf("10.3.%d.%d", n>>8&255, n&255)))
	c.Tables().Pods.Delete("shop/" + name(n-1))
}

// BenchmarkMeshPod: one pod of a known workload comes, and one goes.
func BenchmarkMeshPod(b *testing.B) {
	town{}.change(b, func(c town, shop, n int) { c.arrive(n, shopName(shop)) })
}

// BenchmarkMeshAccount: one pod of a new ServiceAccount comes, and the last one of another goes.
func BenchmarkMeshAccount(b *testing.B) {
	town{}.change(b, func(c town, _, n int) { c.arrive(n, fmt.Sprint("app-", n)) })
}

// BenchmarkMeshService: one Service comes, and one goes.
func BenchmarkMeshService(b *testing.B) {
	town{}.change(b, func(c town, _, n int) {
		i := 20000 + n
		c.Tables().Services.Set(shopKey(i), c.meshed("shop", i))
		c.Tables().Services.Delete(shopKey(i - 1))
	})
}

// BenchmarkMeshRoute: the route of one Service changes.
func BenchmarkMeshRoute(b *testing.B) {
	town{}.change(b, func(c town, shop, n int) {
		r := c.route(shop, fmt.Sprintf("/%06d", n))
		r.Spec.Hostnames = nil
		r.Spec.ParentRefs = []gwv1.ParentReference{{Group: new(gwv1.Group("")), Kind: new(gwv1.Kind("Service")), Name: gwv1.ObjectName(shopName(shop))}}
		c.Tables().HTTPRoutes.Set(shopKey(shop), r)
	})
}

// BenchmarkMeshSplit: the weights of one TrafficSplit change.
func BenchmarkMeshSplit(b *testing.B) {
	town{}.change(b, func(c town, shop, n int) {
		s := &split.TrafficSplit{ObjectMeta: c.in("shop", shopName(shop))}
		s.Spec.Service = shopName(shop)
		s.Spec.Backends = []split.TrafficSplitBackend{{Service: shopName(shop), Weight: 1000}, {Service: shopName(shop + 1), Weight: n % 1000}}
		c.Tables().TrafficSplits.Set(shopKey(shop), s)
	})
}

// BenchmarkMeshPolicy: the policy of a namespace of ten workloads changes.
func BenchmarkMeshPolicy(b *testing.B) {
	town{}.change(b, func(c town, _, n int) {
		mode := []mesh.MTLSMode{mesh.MTLSStrict, mesh.MTLSPermissive}[n%2]
		c.Tables().MeshPolicies.Set("mall/mtls", c.policy("mall", "mtls", mode))
	})
}

// BenchmarkMeshFromScratch: the mesh is computed anew, as a server without memory would.
func BenchmarkMeshFromScratch(b *testing.B) {
	for _, shops := range []int{1000, 10000} {
		b.Run(fmt.Sprint(shops, "services"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				newTown(shops)
			}
		})
	}
}
