package core

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// guardedTown has a Gateway with a route and its named rule, and a pod behind the port of a Service that it leads to.
const guardedTown = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: weft}
spec: {controllerName: mesh.weft.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  gatewayClassName: weft
  listeners: [{name: http, port: 80, protocol: HTTP, hostname: a.example.com}, {name: other, port: 80, protocol: HTTP, hostname: b.example.com}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http, port: 80, targetPort: 8080}, {name: http-other, port: 81, targetPort: 8081}], selector: {app: cart}, clusterIPs: ["10.1.0.1"]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart-0, namespace: shop, uid: c0, labels: {app: cart}}
spec: {serviceAccountName: cart, initContainers: [{name: weft-proxy}], containers: [{name: app}]}
status: {podIPs: [{ip: 10.0.0.1}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{name: web}]
  rules:
  - name: checkout
    matches: [{path: {value: /checkout}}]
    backendRefs: [{name: cart, port: 80}]
  - matches: [{path: {value: /}}]
    backendRefs: [{name: cart, port: 80}]
`

type tokenLevel struct {
	name, namespace, target string
	gateway, pods           bool
}

// tokenLevels are all levels, from the outer to the inner ones, as targets; of Gateways, and of pods.
var tokenLevels = []tokenLevel{
	{"mesh", "weft-system", "", true, true},
	{"namespace", "shop", "", true, true},
	{"account", "shop", "{kind: ServiceAccount, name: cart}", false, true},
	{"labels", "shop", "{pods: {selector: {matchLabels: {app: cart}}}}", false, true},
	{"service", "shop", "{kind: Service, name: cart}", false, true},
	{"port", "shop", "{kind: Service, name: cart, sectionName: http}", false, true},
	{"gateway", "shop", "{kind: Gateway, name: web}", true, false},
	{"listener", "shop", "{kind: Gateway, name: web, sectionName: http}", true, false},
	{"route", "shop", "{kind: HTTPRoute, name: cart}", true, false},
	{"rule", "shop", "{kind: HTTPRoute, name: cart, sectionName: checkout}", true, false},
}

const tokenKeys = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

func tokenPolicy(namespace, name, target string) string {
	if target != "" {
		target = "targetRefs: [" + target + "], "
	}
	return fmt.Sprintf("apiVersion: mesh.weft.dev/v1alpha1\nkind: MeshPolicy\nmetadata: {name: %s, namespace: %s}\nspec: {%sjwt: {providers: [{name: p, issuer: 'issuer-%s', jwks: {inline: '%s'}}]}}\n",
		name, namespace, target, name, tokenKeys)
}

// asked is what requests to a host of the Gateway must pass that a rule takes.
func (w *world) asked(host, rule string) string { return w.configured(host, rule, "weft.guards") }

// configured is what a filter does about requests to a host of the Gateway that a rule takes.
func (w *world) configured(host, rule, filter string) string {
	w.t.Helper()
	var at struct {
		TypedPerFilterConfig map[string]any
		Routes               []struct {
			Name                 string
			TypedPerFilterConfig map[string]any
		}
	}
	if err := yaml.Unmarshal([]byte(w.seen["virtualhost gateway/shop/web/80/"+host]), &at); err != nil {
		w.t.Fatal(err)
	}
	for _, r := range at.Routes {
		if r.Name == "httproute/shop/cart/"+rule+"/0" {
			if own, is := r.TypedPerFilterConfig[filter]; is {
				return fmt.Sprint(own)
			}
			return fmt.Sprint(at.TypedPerFilterConfig[filter])
		}
	}
	w.t.Fatalf("%s has no rule %s", host, rule)
	return ""
}

// TestTokensOfTwoLevels: of each pair of levels, both are asked for wherever both are about requests, and each alone
// where it is alone.
func TestTokensOfTwoLevels(t *testing.T) {
	for i, outer := range tokenLevels {
		for _, inner := range tokenLevels[i+1:] {
			t.Run(outer.name+" and "+inner.name, func(t *testing.T) { twoLevels(t, outer, inner) })
		}
	}
}

func twoLevels(t *testing.T, both ...tokenLevel) {
	w := newWorld(t)
	put(t, w.core, []byte(guardedTown))
	for _, l := range both {
		put(t, w.core, []byte(tokenPolicy(l.namespace, l.name, l.target)))
	}
	w.commit()
	at := map[string]string{"the rule": w.asked("a.example.com", "checkout"), "another rule and listener": w.asked("b.example.com", "1"), "the port": w.guards("8080"), "another port": w.guards("8081")}
	for place, text := range at {
		n := 0
		for _, l := range both {
			wanted := map[string]bool{
				"the rule": l.gateway, "another rule and listener": l.gateway && l.name != "listener" && l.name != "rule",
				"the port": l.pods, "another port": l.pods && l.name != "port",
			}[place]
			if wanted {
				n++
			}
			if strings.Contains(text, "issuer:issuer-"+l.name+" ") != wanted {
				t.Errorf("%s is asked for at %s: %v", l.name, place, !wanted)
			}
		}
		if strings.Contains(text, "requiresAll:") != (n == 2) || strings.Contains(text, "requiresAny:") {
			t.Errorf("at %s it is not all %d that are asked for: %s", place, n, text)
		}
	}
}

// guards is what requests to a port of the pods must pass.
func (w *world) guards(port string) string {
	w.t.Helper()
	var at struct {
		MatcherTree struct{ ExactMatchMap struct{ Map map[string]any } }
		OnNoMatch   any
	}
	for name, text := range w.seen {
		if strings.HasPrefix(name, "extension guards of ") {
			if err := yaml.Unmarshal([]byte(text), &at); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	if own, is := at.MatcherTree.ExactMatchMap.Map[port]; is {
		return fmt.Sprint(own)
	}
	return fmt.Sprint(at.OnNoMatch)
}
