package mesh

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
)

// town is a few Services and the routes that name them as parents.
type town struct {
	*Mesh
	generation int64
}

func newTown(services ...string) *town {
	t := &town{Mesh: New(cluster.NewTables())}
	t.Graph.Commit(func() {
		for _, s := range services {
			ns, name, _ := strings.Cut(s, "/")
			t.Services.Set(s, &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
				Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "more", Port: 81}}},
			})
		}
	})
	return t
}

// parent is a parentRef to a Service; port 0 is any.
func parent(service string, port int32) []gwv1.ParentReference {
	ns, name, _ := strings.Cut(service, "/")
	ref := gwv1.ParentReference{Group: new(gwv1.Group("")), Kind: new(gwv1.Kind("Service")), Namespace: new(gwv1.Namespace(ns)), Name: gwv1.ObjectName(name)}
	if port != 0 {
		ref.Port = &port
	}
	return []gwv1.ParentReference{ref}
}

func backend(service string) gwv1.BackendRef {
	ns, name, _ := strings.Cut(service, "/")
	return gwv1.BackendRef{BackendObjectReference: gwv1.BackendObjectReference{Namespace: new(gwv1.Namespace(ns)), Name: gwv1.ObjectName(name), Port: new(gwv1.PortNumber(80))}}
}

func (t *town) meta(k string) metav1.ObjectMeta {
	t.generation++
	ns, name, _ := strings.Cut(k, "/")
	return metav1.ObjectMeta{Namespace: ns, Name: name, Generation: t.generation}
}

func (t *town) http(k string, parents []gwv1.ParentReference, rule gwv1.HTTPRouteRule) {
	r := &gwv1.HTTPRoute{ObjectMeta: t.meta(k)}
	r.Spec.ParentRefs, r.Spec.Rules = parents, []gwv1.HTTPRouteRule{rule}
	t.Graph.Commit(func() { t.HTTPRoutes.Set(k, r) })
}

func (t *town) grpc(k string, parents []gwv1.ParentReference, rule gwv1.GRPCRouteRule) {
	r := &gwv1.GRPCRoute{ObjectMeta: t.meta(k)}
	r.Spec.ParentRefs, r.Spec.Rules = parents, []gwv1.GRPCRouteRule{rule}
	t.Graph.Commit(func() { t.GRPCRoutes.Set(k, r) })
}

func httpTo(service string) gwv1.HTTPRouteRule {
	return gwv1.HTTPRouteRule{BackendRefs: []gwv1.HTTPBackendRef{{BackendRef: backend(service)}}}
}

func grpcTo(service string) gwv1.GRPCRouteRule {
	return gwv1.GRPCRouteRule{BackendRefs: []gwv1.GRPCBackendRef{{BackendRef: backend(service)}}}
}

// sees are the clusters that pods of a namespace are sent to, or "none" where no route is.
func (t *town) sees(service string, port int32, consumer string) string {
	rules, routed := t.serviceRules(nil, service, port, consumer)
	if !routed {
		return "none"
	}
	var out []string
	for _, r := range rules {
		for _, b := range r.Backends {
			out = append(out, b.Cluster)
		}
	}
	return strings.Join(out, " ")
}

// Everybody sees a producer's routes, and those of a consumer's namespace its own in their place.
func TestProducersAndConsumers(t *testing.T) {
	w := newTown("shop/cart", "shop/next", "buy/mine")
	check := func(when string, port int32, want map[string]string) {
		t.Helper()
		for consumer, clusters := range want {
			if got := w.sees("shop/cart", port, consumer); got != clusters {
				t.Errorf("%s: port %d from %s: %q, want %q", when, port, consumer, got, clusters)
			}
		}
	}
	check("no route", 80, map[string]string{"shop": "none", "buy": "none"})
	w.http("shop/producer", parent("shop/cart", 0), httpTo("shop/next"))
	check("a producer's", 80, map[string]string{"shop": "service/shop/next/80", "buy": "service/shop/next/80"})
	check("a producer's", 81, map[string]string{"shop": "service/shop/next/80"})
	w.http("buy/consumer", parent("shop/cart", 80), httpTo("shop/cart"))
	check("and a consumer's", 80, map[string]string{"shop": "service/shop/next/80", "buy": "service/shop/cart/80", "sell": "service/shop/next/80"})
	check("and a consumer's", 81, map[string]string{"buy": "service/shop/next/80"})
	if got := [][]string{consumers(nil, w.frontedBy, "shop/cart", 80), consumers(nil, w.frontedBy, "shop/cart", 81)}; fmt.Sprint(got) != "[[buy] []]" {
		t.Errorf("consumers %v", got)
	}
	w.grpc("buy/calls", parent("shop/cart", 80), grpcTo("buy/mine"))
	check("and its GRPCRoute", 80, map[string]string{"shop": "service/shop/next/80", "buy": "service/buy/mine/80/h2"})
	w.Graph.Commit(func() {
		w.Quarantines.Set("GRPCRoute/buy/calls", cluster.Quarantine{Generation: w.generation, Proxy: "buy/x"})
	})
	check("which a proxy refused", 80, map[string]string{"buy": "service/shop/cart/80"})
	w.Graph.Commit(func() { w.HTTPRoutes.Delete("buy/consumer") })
	check("and the producer's is left", 80, map[string]string{"buy": "service/shop/next/80"})
	if got := consumers(nil, w.frontedBy, "shop/cart", 80); len(got) > 0 {
		t.Errorf("consumers %v", got)
	}
	w.http("shop/producer", parent("shop/cart", 0), gwv1.HTTPRouteRule{SessionPersistence: &gwv1.SessionPersistence{AbsoluteTimeout: new(gwv1.Duration("1h"))}})
	check("which cannot be served", 80, map[string]string{"shop": "none", "buy": "none"})
}

// The sidecars that follow a route see the clusters that it sends to; of one at Gateways only, none do.
func TestServiceRouteWants(t *testing.T) {
	w := newTown("shop/cart", "shop/next")
	rule := httpTo("shop/next")
	rule.Retry = &gwv1.HTTPRouteRetry{}
	mirror := backend("shop/cart").BackendObjectReference
	rule.Filters = []gwv1.HTTPRouteFilter{{Type: gwv1.HTTPRouteFilterRequestMirror, RequestMirror: &gwv1.HTTPRequestMirrorFilter{BackendRef: mirror}}}
	w.http("shop/retry", parent("shop/cart", 0), rule)
	w.grpc("buy/calls", parent("shop/next", 81), grpcTo("shop/next"))
	w.http("shop/edge", []gwv1.ParentReference{{Name: "edge"}}, httpTo("shop/next"))
	w.http("shop/lost", parent("shop/gone", 0), httpTo("shop/next"))
	for k, want := range map[string][]string{
		"HTTPRoute/shop/retry": {"@mesh service/shop/cart/80/mirror", "@mesh service/shop/next/80/own-retries", "@mesh service/shop/cart/80", "@mesh service/shop/next/80"},
		"GRPCRoute/buy/calls":  {"@mesh/buy service/shop/next/80/h2", "@mesh/buy service/shop/next/80"},
		"HTTPRoute/shop/edge":  nil,
		"HTTPRoute/shop/lost":  nil,
		"HTTPRoute/shop/gone":  nil,
	} {
		var got []string
		for _, key := range w.serviceRouteWants(nil, k) {
			at := ParseWant(key)
			got = append(got, at.Scope+" "+at.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", k, got, want)
		}
	}
}

// A change of one Service's route runs nothing again that another Service or another namespace sees.
func TestServiceRoutesCostWhatTheyTouch(t *testing.T) {
	w := newTown("shop/cart", "shop/next")
	ran := map[string]int{}
	seen := Memo(w.Mesh, "rules", func(q *incr.Query, at string) []Rule {
		ran[at]++
		service, consumer, _ := strings.Cut(at, "|")
		rules, _ := w.serviceRules(q, service, 80, consumer)
		return rules
	})
	wanted := incr.NewSet[string](w.Graph)
	incr.Keep(seen, func(string, []Rule, bool) {}, wanted)
	w.http("shop/cart", parent("shop/cart", 0), httpTo("shop/cart"))
	w.http("shop/next", parent("shop/next", 0), httpTo("shop/next"))
	w.http("buy/cart", parent("shop/cart", 0), httpTo("shop/cart"))
	w.Graph.Commit(func() {
		for _, at := range []string{"shop/cart|shop", "shop/cart|buy", "shop/next|shop"} {
			wanted.Add(at)
		}
	})
	clear(ran)
	w.http("buy/cart", parent("shop/cart", 0), httpTo("shop/next"))
	w.http("sell/cart", parent("shop/cart", 0), httpTo("shop/next"))
	if fmt.Sprint(ran) != "map[shop/cart|buy:1]" {
		t.Errorf("ran again: %v", ran)
	}
}

// What a cluster's name says is read from it again.
func TestClusterNames(t *testing.T) {
	w := newTown("shop/cart")
	for name, want := range map[string]Cluster{
		clusterName("shop", "cart", 80):                        {Protocol: HTTP1},
		OwnRetries(clusterName("shop", "cart", 80)):            {Protocol: HTTP1, OwnRetries: true},
		OverHTTP2(clusterName("shop", "cart", 80)):             {Protocol: HTTP2},
		OwnRetries(OverHTTP2(clusterName("shop", "cart", 80))): {Protocol: HTTP2, OwnRetries: true},
		OverHTTP2(MirrorOf(clusterName("shop", "cart", 80))):   {Protocol: HTTP2, OwnRetries: true, Mirror: true},
	} {
		want.Name, want.Endpoints = name, "service/shop/cart/80"
		if got := w.Cluster(nil, name, ""); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}
