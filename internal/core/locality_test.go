package core

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

const (
	nodeInZone   = "apiVersion: v1\nkind: Node\nmetadata: {name: one, labels: {topology.kubernetes.io/zone: %s, other: x}}\n"
	podOnNode    = "apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: %s, labels: {%s}}\nspec: {serviceAccountName: %s, nodeName: %q, initContainers: [{name: %s}]}\n"
	gatewayClass = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: weft}\nspec: {controllerName: mesh.weft.dev/gateway-controller}\n"
	webGateway   = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: web, namespace: shop}\nspec: {gatewayClassName: weft, listeners: [{name: http, port: 80, protocol: HTTP}]}\n"
)

// TestScopeOfLocality: a sidecar, and a Gateway's proxy, see what is for callers at their place as soon as that is
// known, and until then what all see.
func TestScopeOfLocality(t *testing.T) {
	c := New(xds.NewStore(mesh.BasesOf), xds.NewFacts())
	var rescoped []string
	c.OnRescope = func(pods map[string]struct{}) { rescoped = slices.Sorted(maps.Keys(pods)) }
	change := func(objects ...string) {
		t.Helper()
		rescoped = nil
		for _, o := range objects {
			put(t, c, []byte(o))
		}
		c.Commit()
	}
	const sidecar, proxy = "weft-proxy", "envoy"
	gatewayLabel := "gateway.networking.k8s.io/gateway-name: web"
	at := func(pod, account string) string {
		t.Helper()
		scope, ok := c.ScopeOf(xds.Identity{Namespace: "shop", ServiceAccount: account, Pod: pod, PodUID: "shop/" + pod})
		if !ok {
			t.Fatalf("%s is refused", pod)
		}
		return scope
	}
	change(gatewayClass, webGateway, fmt.Sprintf(podOnNode, "cart", "", "cart", "", sidecar))
	plain, account := at("cart", "cart"), "web-weft"
	if scope := at("web-1", account); scope != "shop/"+account {
		t.Errorf("a Gateway's proxy before its pod is known sees %s", scope)
	}
	change(fmt.Sprintf(podOnNode, "cart", "", "cart", "one", sidecar))
	if scope := at("cart", "cart"); scope != plain {
		t.Errorf("on a Node that is not known: %s", scope)
	}
	change(fmt.Sprintf(nodeInZone, "a"), fmt.Sprintf(podOnNode, "web-1", gatewayLabel, account, "one", proxy))
	a, both := mesh.At("topology.kubernetes.io/zone=a", plain), []string{"shop/cart", "shop/web-1"}
	if scope := at("cart", "cart"); scope != a || !slices.Equal(rescoped, both) {
		t.Errorf("its Node is known: %s; other scopes have %v", scope, rescoped)
	}
	if scope := at("web-1", account); scope != mesh.At("topology.kubernetes.io/zone=a", "shop/"+account) {
		t.Errorf("a Gateway's proxy in zone a sees %s", scope)
	}
	change(fmt.Sprintf(nodeInZone, "a, beat: y"))
	if scope := at("cart", "cart"); scope != a || len(rescoped) > 0 {
		t.Errorf("another label of its Node changes: %s; other scopes have %v", scope, rescoped)
	}
	change(fmt.Sprintf(nodeInZone, "b"))
	if scope := at("cart", "cart"); scope == a || !slices.Equal(rescoped, both) {
		t.Errorf("its Node is in another zone: %s; other scopes have %v", scope, rescoped)
	}
}
