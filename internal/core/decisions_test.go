package core

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/cluster"
)

const decidedWorld = `
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], selector: {app: cart}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, uid: u-cart, labels: {app: cart, tier: gold, other: thing}}
spec: {serviceAccountName: cart, containers: [{name: app}], initContainers: [{name: weft-proxy}]}
status: {podIP: 10.0.0.9}
---
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: callers, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: cart}]
  authorization:
    rules:
    - name: r
      from: [{gateway: {namespace: shop, name: gone}}]
      to: [{headers: [{name: x-role}]}]
      when: [{attribute: "jwt.claims[org][unit]", operator: In, attributes: ["destination.labels[tier]"]}]
---
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: tried, namespace: shop}
spec:
  mode: Shadow
  targetRefs: [{kind: Service, name: cart}]
  authorization: {}
`

// decisions has the Mesh say which are told of, and returns what became different.
func (w *world) decisions(mode v1alpha1.DecisionMode) string {
	cluster.Put(w.core.inbox, w.core.tables.Meshes, v1alpha1.MeshName, &v1alpha1.Mesh{Spec: v1alpha1.MeshSpec{DecisionLog: v1alpha1.DecisionLog{Decisions: mode}}})
	return w.commit()
}

// TestDecisionLaws: where the Mesh has decisions told, sidecars have by which policies they decide, with digests of what
// these say and nothing of whom is called that nobody asks for; and where weft authz hears. Else they have nothing of it.
func TestDecisionLaws(t *testing.T) {
	w := newWorld(t)
	if out := w.apply([]byte(decidedWorld)); strings.Contains(out, "weft-authz") {
		t.Error(out)
	}
	scope := w.core.mesh.PodIdentity(nil, "shop/cart").Scope
	law := func() *authz.Law {
		for _, p := range w.core.mesh.InboundGuards(nil, scope).Ports {
			if p.Port == 80 {
				return p.Law
			}
		}
		return nil
	}
	if l := law(); l != nil {
		t.Errorf("%+v", l)
	}
	if out := w.decisions(v1alpha1.DecisionsDenied); !strings.Contains(out, "weft-authz") {
		t.Errorf("sidecars have no Cluster to tell by: %s", out)
	}
	digest := func(policy string) string {
		p, _ := w.core.tables.MeshPolicies.Get(nil, policy)
		return authz.Digest(p.Spec.Authorization)
	}
	want := authz.Law{
		TrustDomain: "cluster.local", Labels: map[string]string{"tier": "gold"}, Accounts: map[string]string{"shop/gone": ""},
		Claims: []string{"org"}, Headers: []string{"x-role"},
		Levels: []authz.Level{{Name: "service", Policies: []authz.Policy{
			{Key: "shop/callers", Digest: digest("shop/callers")}, {Key: "shop/tried", Digest: digest("shop/tried"), Shadow: true},
		}}},
	}
	if l := law(); l == nil || l.Text() != want.Text() {
		t.Errorf("%+v, want %+v", l, want)
	}
	before := law().Digests()[0]
	w.apply([]byte(strings.Replace(decidedWorld, "name: x-role", "name: x-other", 1)))
	if l := law(); l.Digests()[0] == before || fmt.Sprint(l.Headers) != "[x-other]" {
		t.Errorf("after an edit: %+v", l)
	}
	w.decisions(v1alpha1.DecisionsNone)
	if l := law(); l != nil {
		t.Errorf("%+v", l)
	}
}
