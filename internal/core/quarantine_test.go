package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// host is one virtual host and a proxy that refuses it while it holds a bad route.
type host struct {
	routes  map[string]int64 // what users wrote
	bad     map[string]int64 // generations that the proxy refuses
	held    map[string]int64
	answers int
	*quarantine
}

var someHost = xds.Resource{Name: xds.Name{Type: xds.VirtualHostType, Name: "v"}}

func newHost(routes int, bad ...string) *host {
	h := &host{routes: map[string]int64{}, bad: map[string]int64{}, held: map[string]int64{}}
	h.quarantine = newQuarantine(
		func(route string, generation int64, _ refusal) { h.held[route] = generation },
		func(route string) { delete(h.held, route) })
	for i := range routes {
		h.routes[fmt.Sprintf("r%03d", i)] = 1
	}
	for _, b := range bad {
		h.bad[b] = h.routes[b]
	}
	return h
}

// settle renders and lets the proxy answer until nothing changes.
func (h *host) settle(t *testing.T) {
	last := ""
	for {
		from := maps.Clone(h.routes)
		maps.DeleteFunc(from, func(r string, g int64) bool { return h.held[r] == g })
		version := fmt.Sprint(slices.Sorted(maps.Keys(from)), from)
		if version == last {
			return
		}
		last = version
		h.rendered(someHost, rendered{resource: resource(version), from: from, scope: "s"}, true)
		if h.answers++; h.answers > 200 {
			t.Fatal("it does not settle")
		}
		if h.refuses(from) {
			h.refused(someHost, version, refusal{"shop/edge-1", "too complex"})
			last = ""
			continue
		}
		h.accepted("s", func(xds.Name) (string, bool) { return version, true })
	}
}

func (h *host) refuses(from map[string]int64) bool {
	for r, g := range h.bad {
		if from[r] == g {
			return true
		}
	}
	return false
}

// A proxy that was never told anything refuses a host of 100 routes: only the bad ones end outside.
func TestQuarantineFindsTheBadAmongMany(t *testing.T) {
	h := newHost(100, "r007", "r063")
	h.settle(t)
	if got := slices.Sorted(maps.Keys(h.held)); !slices.Equal(got, []string{"r007", "r063"}) {
		t.Fatalf("held %v after %d answers", got, h.answers)
	}
}

// A route added to a host that was accepted is the only suspect: one refusal is enough.
func TestQuarantineSuspectsWhatIsNew(t *testing.T) {
	h := newHost(100)
	h.settle(t)
	before := h.answers
	h.routes["new"], h.bad["new"] = 1, 1
	h.settle(t)
	if len(h.held) != 1 || h.held["new"] != 1 || h.answers-before > 3 {
		t.Fatalf("held %v after %d answers", h.held, h.answers-before)
	}
}

// The next generation of a refused route is tried anew.
func TestQuarantineEndsWithTheGeneration(t *testing.T) {
	h := newHost(3, "r001")
	h.settle(t)
	h.routes["r001"] = 2
	h.settle(t)
	if h.held["r001"] == 2 || h.refuses(h.routes) {
		t.Fatalf("held %v", h.held)
	}
}

func resource(version string) *discovery.Resource { return &discovery.Resource{Version: version} }

// A sidecar refuses the routes of a Service's port for one of four that share it, all of them new:
// only the bad one ends outside, whether they are the producer's, which all namespaces see, or a
// consumer's own, which go altogether while all are suspected; and as those at a place have them, where a rule of one
// is for some Nodes.
func TestQuarantineOfServiceRoutes(t *testing.T) {
	for variant, namespace := range map[xds.Variant]string{"": "shop", "web": "web", "@at/topology.kubernetes.io/zone=a|": "shop", "@at/topology.kubernetes.io/zone=a|web": "web"} {
		t.Run(string(variant), func(t *testing.T) {
			c := New(xds.NewStore(mesh.BasesOf), xds.NewFacts())
			put(t, c, []byte("apiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: cart}\nspec: {clusterIPs: [10.1.0.1], ports: [{name: http, port: 80}]}"))
			for i := range 4 {
				put(t, c, fmt.Appendf(nil, "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {namespace: %s, name: r%d, generation: 1}\n"+
					"spec: {parentRefs: [{group: '', kind: Service, namespace: shop, name: cart}], rules: [{name: one, matches: [{path: {value: /%d}}]}]}", namespace, i, i))
			}
			if strings.HasPrefix(string(variant), "@at/") {
				put(t, c, fmt.Appendf(nil, nodeInZone, "a"))
				put(t, c, fmt.Appendf(nil, podOnNode, "app", "", "app", "one", "weft-proxy"))
				put(t, c, []byte(strings.Replace(fmt.Sprintf(podOnNode, "app", "", "app", "one", "weft-proxy"), "namespace: shop", "namespace: web", 1)))
				put(t, c, fmt.Appendf(nil, "apiVersion: mesh.weft.dev/v1alpha1\nkind: MeshPolicy\nmetadata: {namespace: %s, name: near}\n"+
					"spec: {targetRefs: [{kind: HTTPRoute, name: r0, sectionName: one}], match: {nodeSelector: {matchLabels: {topology.kubernetes.io/zone: a}}}}", namespace))
			}
			c.Commit()
			bad := mesh.HTTPRoute + "/" + namespace + "/r2"
			for answers := 0; sidecarAnswers(c, bad, namespace); answers++ {
				if answers > 20 {
					t.Fatal("it does not settle")
				}
			}
			var held []string
			c.tables.Quarantines.Each(func(k string, _ cluster.Quarantine) { held = append(held, k) })
			if !slices.Equal(held, []string{bad}) {
				t.Errorf("held back: %v, want %s alone", held, bad)
			}
			served := c.quarantine.hosts[xds.Resource{Name: cartRoutes, Variant: variant}]
			if served == nil || len(served.versions[len(served.versions)-1].from) != 3 {
				t.Errorf("not all the others are served: %+v", served)
			}
			if sight, seen := c.store.Sight(mesh.RoutesScope(string(variant)), cartRoutes); !seen || sight.Version == "" {
				t.Error("the sidecars of the namespace see no routes")
			}
		})
	}
}

// A proxy refuses a route that has requests checked: without it they would reach the Service unchecked, so
// they are refused until a generation comes that it takes.
func TestQuarantineOfCheckedRoutes(t *testing.T) {
	w := newWorld(t)
	w.apply([]byte("apiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: cart}\nspec: {clusterIPs: [10.1.0.1], ports: [{name: http, port: 80}]}"))
	const route = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: shop, name: cart, generation: %[1]d}
spec:
  parentRefs: [{group: '', kind: Service, name: cart}]
  rules:
  - filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: cart, port: 80}, http: {path: /%[1]d}}}]
    backendRefs: [{name: cart, port: 80}]`
	for generation, want := range []string{"cluster: service/shop/cart/80", "status: 500", "cluster: service/shop/cart/80"} {
		switch generation {
		case 0, 2:
			w.apply(fmt.Appendf(nil, route, generation+1))
		case 1:
			for answers := 0; sidecarAnswers(w.core, mesh.HTTPRoute+"/shop/cart", "shop"); answers++ {
				if answers > 20 {
					t.Fatal("it does not settle")
				}
			}
		}
		if is := w.seen["routes outbound/shop/cart/80"]; !strings.Contains(is, want) || strings.Contains(is, "cluster:") == strings.Contains(is, "status: 500") {
			t.Errorf("step %d: want %q in\n%s", generation, want, is)
		}
	}
}

var cartRoutes = xds.Name{Type: xds.RouteType, Name: "outbound/shop/cart/80"}

// sidecarAnswers has a sidecar of a namespace answer for what it was not asked before, and says
// whether there was anything. It refuses what a bad route is in. Where there are routes for a place it is there.
func sidecarAnswers(c *Core, bad, namespace string) (any bool) {
	c.tables.Graph.Commit(func() {
		there := false
		for at := range c.quarantine.hosts {
			there = there || placed(at)
		}
		for at, s := range c.quarantine.hosts {
			if placed(at) != there {
				continue
			}
			newest := s.versions[len(s.versions)-1]
			_, refuses := newest.from[bad]
			switch {
			case newest.accepted || newest.refused:
				continue
			case refuses:
				proxy := xds.Fact{Proxy: xds.Proxy{Identity: xds.Identity{Namespace: namespace, Pod: "app"}, Scope: s.scope}}
				c.refused(proxy, xds.Refusal{Name: at.Name, Version: newest.id, Detail: "too complex"}, nil)
			default:
				c.quarantine.accepted(s.scope, func(n xds.Name) (string, bool) { return newest.id, n == at.Name })
			}
			any = true
		}
	})
	c.Commit()
	return any
}

func placed(at xds.Resource) bool { return strings.HasPrefix(string(at.Variant), "@at/") }
