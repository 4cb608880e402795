package mesh

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// TestTargets: each kind of object, with and without a part, is found or said to be missing.
func TestTargets(t *testing.T) {
	tables := cluster.NewTables()
	m := New(tables)
	in := metav1.ObjectMeta{Namespace: "shop", Name: "web"}
	tables.Graph.Commit(func() {
		tables.GatewayClasses.Set("weft", &gwv1.GatewayClass{Spec: gwv1.GatewayClassSpec{ControllerName: ControllerName}})
		for _, s := range shopServices() {
			tables.Services.Set(key(s.Namespace, s.Name), s)
		}
		tables.Gateways.Set("shop/web", &gwv1.Gateway{ObjectMeta: in, Spec: gwv1.GatewaySpec{GatewayClassName: "weft", Listeners: []gwv1.Listener{{Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}}}})
		tables.Gateways.Set("shop/other", &gwv1.Gateway{Spec: gwv1.GatewaySpec{GatewayClassName: "other"}})
		tables.HTTPRoutes.Set("shop/web", &gwv1.HTTPRoute{ObjectMeta: in, Spec: gwv1.HTTPRouteSpec{Rules: []gwv1.HTTPRouteRule{{}, {Name: new(gwv1.SectionName("get"))}}}})
	})
	for _, c := range []struct {
		target  v1alpha1.PolicyTarget
		level   room.Level
		missing string // part of the message
	}{
		{v1alpha1.PolicyTarget{Kind: "Service", Name: "orders"}, room.AtService, ""},
		{v1alpha1.PolicyTarget{Kind: "Service", Name: "orders", SectionName: "http"}, room.AtPort, ""},
		{v1alpha1.PolicyTarget{Kind: "Service", Name: "orders", SectionName: "no"}, room.AtPort, "spec.targetRefs[0]: there is no port no of Service shop/orders"},
		{v1alpha1.PolicyTarget{Kind: "Service", Name: "orders", Port: 80}, room.AtPort, ""},
		{v1alpha1.PolicyTarget{Kind: "Service", Name: "orders", Port: 8080}, room.AtPort, "there is no port 8080 of Service shop/orders"},
		{v1alpha1.PolicyTarget{Kind: "Service", Name: "no"}, room.AtService, "Service shop/no does not exist"},
		{v1alpha1.PolicyTarget{Kind: "ServiceAccount", Name: "any"}, room.AtServiceAccount, ""},
		{v1alpha1.PolicyTarget{Pods: &v1alpha1.PodSelection{}}, room.AtPods, ""},
		{v1alpha1.PolicyTarget{Kind: "Gateway", Name: "web"}, room.AtService, ""},
		{v1alpha1.PolicyTarget{Kind: "Gateway", Name: "web", SectionName: "http"}, room.AtPort, ""},
		{v1alpha1.PolicyTarget{Kind: "Gateway", Name: "web", SectionName: "no"}, room.AtPort, "there is no listener no of Gateway shop/web"},
		{v1alpha1.PolicyTarget{Kind: "Gateway", Name: "other"}, room.AtService, "Gateway shop/other does not exist"},
		{v1alpha1.PolicyTarget{Kind: "HTTPRoute", Name: "web"}, room.AtRoute, ""},
		{v1alpha1.PolicyTarget{Kind: "HTTPRoute", Name: "web", SectionName: "get"}, room.AtRule, ""},
		{v1alpha1.PolicyTarget{Kind: "HTTPRoute", Name: "web", SectionName: "no"}, room.AtRule, "there is no rule no of HTTPRoute shop/web"},
	} {
		p := &v1alpha1.MeshPolicy{ObjectMeta: in, Spec: v1alpha1.MeshPolicySpec{TargetRefs: []v1alpha1.PolicyTarget{c.target}}}
		s := subjects(p)[0]
		got := m.missing(nil, s)
		if s.level() != c.level || got.OK() != (c.missing == "") || !strings.Contains(got.Message, c.missing) {
			t.Errorf("%s: level %d, %+v; want level %d, %q", s, s.level(), got, c.level, c.missing)
		}
	}
}
