package mesh

import (
	"fmt"
	"strings"
	"testing"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// edge gives a town a Gateway of HTTP.
func (t *town) edge(k string) {
	class := &gwv1.GatewayClass{Spec: gwv1.GatewayClassSpec{ControllerName: ControllerName}}
	class.Name = "weft"
	g := &gwv1.Gateway{ObjectMeta: t.meta(k)}
	g.Spec.GatewayClassName = "weft"
	g.Spec.Listeners = []gwv1.Listener{{Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}}
	t.Graph.Commit(func() {
		t.GatewayClasses.Set("weft", class)
		t.Gateways.Set(k, g)
	})
}

func (t *town) secure(k, service string) {
	p := &gwv1.BackendTLSPolicy{ObjectMeta: t.meta(k)}
	target := gwv1.LocalPolicyTargetReferenceWithSectionName{}
	target.Kind, target.Name = "Service", gwv1.ObjectName(service)
	p.Spec.TargetRefs = []gwv1.LocalPolicyTargetReferenceWithSectionName{target}
	t.Graph.Commit(func() { t.BackendTLSPolicies.Set(k, p) })
}

func at(gateway string) []gwv1.ParentReference {
	ns, name, _ := strings.Cut(gateway, "/")
	return []gwv1.ParentReference{{Namespace: new(gwv1.Namespace(ns)), Name: gwv1.ObjectName(name)}}
}

// TestAncestorsAreBounded: of many Gateways the first by name are told of.
func TestAncestorsAreBounded(t *testing.T) {
	w := newTown("shop/pay")
	w.secure("shop/pay", "pay")
	for i := range MaxAncestors + 2 {
		gateway := fmt.Sprintf("shop/edge-%02d", i)
		w.edge(gateway)
		w.http(gateway, at(gateway), httpTo("shop/pay"))
	}
	st := w.BackendTLSPolicyStatus(nil, "shop/pay")
	if len(st.Ancestors) != MaxAncestors {
		t.Fatalf("%d ancestors", len(st.Ancestors))
	}
	for i, a := range st.Ancestors {
		if want := fmt.Sprintf("edge-%02d", i); string(a.AncestorRef.Name) != want {
			t.Errorf("ancestor %d is %s, not %s", i, a.AncestorRef.Name, want)
		}
	}
}

// TestPassedThrough: what a listener does not read goes to a backend as it came, whatever a policy says.
func TestPassedThrough(t *testing.T) {
	w := newTown("shop/pay")
	for ends, want := range map[gwv1.TLSModeType]string{
		gwv1.TLSModePassthrough: "service/shop/pay/80/tcp",
		gwv1.TLSModeTerminate:   "service/shop/pay/80/tcp/backend-tls",
	} {
		l := listener{Listener: gwv1.Listener{Protocol: gwv1.TLSProtocolType, TLS: &gwv1.ListenerTLSConfig{Mode: &ends}}}
		r := &gwv1.TLSRoute{ObjectMeta: w.meta("shop/pay")}
		r.Spec.Rules = []gwv1.TLSRouteRule{{BackendRefs: []gwv1.BackendRef{backend("shop/pay")}}}
		w.Graph.Commit(func() { w.TLSRoutes.Set("shop/pay", r) })
		w.secure("shop/pay", "pay")
		to, _ := w.passedTo(nil, "TLSRoute/shop/pay", l)
		if len(to) != 1 || to[0].Cluster != want {
			t.Errorf("%s: to %+v, want %s", ends, to, want)
		}
	}
	raw := listener{Listener: gwv1.Listener{Protocol: gwv1.TCPProtocolType}}
	if to, _ := w.passedTo(nil, "TLSRoute/shop/pay", raw); len(to) != 1 || to[0].Cluster != "service/shop/pay/80/tcp/backend-tls" {
		t.Errorf("of a port of TCP, to %+v", to)
	}
}
