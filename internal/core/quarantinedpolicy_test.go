package core

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/mesh"
)

// A proxy refuses a route that a policy shapes: both say so, and the route which policy it may be.
func TestQuarantineByPolicy(t *testing.T) {
	w := newWorld(t)
	w.apply([]byte(`apiVersion: v1
kind: Service
metadata: {namespace: shop, name: cart}
spec: {clusterIPs: [10.1.0.1], ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: shop, name: cart, generation: 1}
spec:
  parentRefs: [{group: '', kind: Service, name: cart}]
  rules: [{backendRefs: [{name: cart, port: 80}]}]
---
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {namespace: shop, name: slow, generation: 1}
spec: {targetRefs: [{kind: HTTPRoute, name: cart}], timeout: {request: 1s}}
`))
	for answers := 0; sidecarAnswers(w.core, mesh.HTTPRoute+"/shop/cart", "shop"); answers++ {
		if answers > 20 {
			t.Fatal("it does not settle")
		}
	}
	w.commit()
	for what, want := range map[string]string{
		"status HTTPRoute shop/cart":  "Accepted=False UnsupportedValue: proxy shop/app refused generation 1 of this route, which is therefore not served: too complex; that may be by what a policy about it says: MeshPolicy shop/slow",
		"status MeshPolicy shop/slow": "Ready=False Refused: HTTPRoute shop/cart is not served, which may be by what this policy says of it: proxy shop/app refused generation 1",
	} {
		if !strings.Contains(w.seen[what], want) {
			t.Errorf("%s: no %q in\n%s", what, want, w.seen[what])
		}
	}
}
