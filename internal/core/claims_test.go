package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// claimedTown has the route of guardedTown attached to the Service too, with a rule that is narrowed by claims.
var claimedTown = strings.Replace(guardedTown, "parentRefs: [{name: web}]", "parentRefs: [{name: web}, {kind: Service, group: \"\", name: cart, port: 80}]", 1) + `
---
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: gold, namespace: shop}
spec:
  targetRefs: [{kind: HTTPRoute, name: cart, sectionName: checkout}]
  match: {claims: [{path: [plan]}]}
`

// called says whether callers' sidecars know of tokens of a level: not by whom one pod or another is.
func (l tokenLevel) called() bool {
	return l.pods && l.name != "account" && l.name != "labels"
}

func (l tokenLevel) claims() string { return "key: routing " + l.namespace + "/" + l.name + "\n" }

// TestRulesByClaimsOfLevels: of each pair of levels at which a token is demanded, a rule goes by the inner one of those
// that are about the requests where they come in, and its policy says where there is none.
func TestRulesByClaimsOfLevels(t *testing.T) {
	for i, outer := range tokenLevels {
		for _, inner := range tokenLevels[i+1:] {
			t.Run(outer.name+" and "+inner.name, func(t *testing.T) {
				w := newWorld(t)
				put(t, w.core, []byte(claimedTown))
				put(t, w.core, []byte(tokenPolicy(outer.namespace, outer.name, outer.target)))
				put(t, w.core, []byte(tokenPolicy(inner.namespace, inner.name, inner.target)))
				w.commit()
				w.goesBy("virtualhost gateway/shop/web/80/a.example.com", "listener http of Gateway", outer, inner, tokenLevel.atGateway)
				w.goesBy("routes outbound/shop/cart/80", "port 80 of Service", outer, inner, tokenLevel.called)
			})
		}
	}
}

func (l tokenLevel) atGateway() bool { return l.gateway }

func (w *world) goesBy(resource, entrance string, outer, inner tokenLevel, known func(tokenLevel) bool) {
	w.t.Helper()
	text, want := w.seen[resource], "key: none\n"
	for _, l := range []tokenLevel{outer, inner} {
		if known(l) {
			want = l.claims()
		}
	}
	for _, l := range []string{"key: none\n", outer.claims(), inner.claims()} {
		if strings.Contains(text, l) != (l == want) {
			w.t.Errorf("%s goes by %q: %v", resource, l, l != want)
		}
	}
	if verified := strings.Count(text, "allowMissingOrFailed"); verified > 1 || (verified == 0) != (want == "key: none\n") {
		w.t.Errorf("%s verifies tokens of %d kinds", resource, verified)
	}
	if said := strings.Contains(w.seen["status MeshPolicy shop/gold"], entrance); said != (want == "key: none\n") {
		w.t.Errorf("what lacks a token %s is told: %v", entrance, said)
	}
}

// TestFaultsByClaimsOfLevels: a fault goes by no claims that a level within its own demands.
func TestFaultsByClaimsOfLevels(t *testing.T) {
	levels := slices.DeleteFunc(slices.Clone(tokenLevels), func(l tokenLevel) bool { return !l.gateway })
	for own := range levels {
		for outer := range levels {
			for inner := outer + 1; inner < len(levels); inner++ {
				want := "none"
				switch {
				case inner <= own:
					want = "claims/" + keyed(levels[inner].name)
				case outer <= own:
					want = "claims"
				}
				t.Run(fmt.Sprintf("%s of %s and %s", levels[own].name, levels[outer].name, levels[inner].name), func(t *testing.T) {
					faultGoesBy(t, levels[own], levels[outer], levels[inner], want)
				})
			}
		}
	}
}

// keyed is what keys of claims call a level.
func keyed(level string) string {
	if name := map[string]string{"gateway": "service", "listener": "port"}[level]; name != "" {
		return name
	}
	return level
}

func faultGoesBy(t *testing.T, own, outer, inner tokenLevel, want string) {
	t.Helper()
	w := newWorld(t)
	put(t, w.core, []byte(guardedTown))
	put(t, w.core, []byte(tokenPolicy(outer.namespace, outer.name, outer.target)+"---\n"+tokenPolicy(inner.namespace, inner.name, inner.target)))
	fault := strings.Split(tokenPolicy(own.namespace, "fault", own.target), "jwt:")[0]
	put(t, w.core, []byte(fault+`fault: {until: "2090-01-01T00:00:00Z", abort: {httpStatus: 503}, claims: [{path: [tester]}]}}`))
	w.commit()
	if at := w.configured("a.example.com", "checkout", "weft.fault"); !strings.Contains(at, "map[key:"+want+"] map[key:tester]") {
		t.Errorf("it does not go by %s: %s", want, at)
	}
	lacks := strings.Contains(w.seen["status MeshPolicy "+own.namespace+"/fault"], "goes by claims")
	other := own.name == "route" && outer.name == "listener" && inner.name == "rule" // nothing of the other listener has any
	if lacks != (want == "none" || other) {
		t.Errorf("it says that it has no claims: %v", lacks)
	}
}
