package core

import (
	"slices"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// TestHolding: of three proxies that a policy reaches one is behind and one refuses; those of other
// scopes do not count, nor does what else they refuse.
func TestHolding(t *testing.T) {
	in, out := mesh.Want{Scope: "shop/a", Kind: mesh.KindListener, Name: "inbound"}, mesh.Want{Scope: "shop/a", Kind: mesh.KindListener, Name: "outbound"}
	other := mesh.Want{Scope: "shop/b", Kind: mesh.KindListener, Name: "inbound"}
	sights := map[mesh.Want]xds.Sight{in: {Version: "i", Revision: 5}, out: {Version: "o", Revision: 7}, other: {Version: "b", Revision: 2}}
	sight := func(w mesh.Want) (xds.Sight, bool) { s, ok := sights[w]; return s, ok }
	fact := func(scope, pod string, acknowledged uint64, refused ...xds.Refusal) xds.Fact {
		return xds.Fact{Proxy: xds.Proxy{Identity: xds.Identity{Namespace: "shop", Pod: pod}, Scope: scope}, Acknowledged: acknowledged, Refused: refused}
	}
	proxies := bySight([]xds.Fact{
		fact("shop/a", "current", 7, xds.Refusal{Name: named(in), Version: "older"}, xds.Refusal{Name: named(other), Version: "b"}),
		fact("shop/a", "behind", 6),
		fact("shop/a", "refuses", 9, xds.Refusal{Name: named(out), Version: "o", Detail: "no"}),
		fact("shop/a", "has nothing yet", 0),
		fact("shop/b", "b", 2),
		fact("shop/c", "c", 1),
	})
	for name, c := range map[string]struct {
		wants []mesh.Want
		want  cluster.Holding
	}{
		"nobody":            {nil, cluster.Holding{Generation: 3}},
		"one scope":         {[]mesh.Want{other}, cluster.Holding{Generation: 3, Total: 1, Acknowledged: 1}},
		"one resource":      {[]mesh.Want{in}, cluster.Holding{Generation: 3, Total: 3, Acknowledged: 3}},
		"not published yet": {[]mesh.Want{{Scope: "shop/c", Kind: mesh.KindListener, Name: "inbound"}}, cluster.Holding{Generation: 3, Total: 1, Acknowledged: 1}},
		"two scopes": {[]mesh.Want{in, out, other}, cluster.Holding{Generation: 3, Total: 4, Acknowledged: 2, Refused: []cluster.PolicyRefusal{
			{Proxy: "shop/refuses", Resource: "listener outbound", Detail: "no"},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := holding(reachOf(3, c.wants...), proxies, sight); !got.Same(c.want) {
				t.Errorf("%+v; want %+v", got, c.want)
			}
		})
	}
}

func reachOf(generation int64, wants ...mesh.Want) *reach {
	r := &reach{generation: generation, wants: map[string][]mesh.Want{}}
	for _, w := range wants {
		r.wants[w.Scope] = append(r.wants[w.Scope], w)
	}
	return r
}

// TestHoldingNamesFew: a status has room for so many.
func TestHoldingNamesFew(t *testing.T) {
	w := mesh.Want{Scope: "s", Kind: mesh.KindListener, Name: "inbound"}
	refusing := xds.Fact{Proxy: xds.Proxy{Scope: "s"}, Acknowledged: 1, Refused: []xds.Refusal{{Name: named(w), Version: "v"}}}
	h := holding(reachOf(1, w), bySight(slices.Repeat([]xds.Fact{refusing}, 100)),
		func(mesh.Want) (xds.Sight, bool) { return xds.Sight{Version: "v", Revision: 1}, true })
	if h.Total != 100 || h.Acknowledged != 0 || len(h.Refused) != maxRefusals {
		t.Errorf("%d of %d, %d refusals", h.Acknowledged, h.Total, len(h.Refused))
	}
}

// TestRecount: proxies are counted again when a policy comes to reach others, or when what carries it
// changes, and not when anything else does.
func TestRecount(t *testing.T) {
	in := mesh.Want{Scope: "shop/a", Kind: mesh.KindListener, Name: "inbound"}
	p := newPolicies()
	resource := func(w mesh.Want) xds.Change {
		return xds.Change{Resources: map[xds.Resource]*discovery.Resource{{Name: named(w)}: nil}}
	}
	elsewhere := mesh.Want{Kind: mesh.KindEndpoints, Name: "inbound"}
	if p.touched(resource(in)) {
		t.Error("there is no policy")
	}
	p.exists("shop/p", 1, true)
	p.reaches("shop/p\x00shop/a", []mesh.Want{in}, true)
	if !p.touched(xds.Change{}) {
		t.Error("a policy is new")
	}
	p.changed = false
	seen := xds.Change{Scopes: map[string]map[xds.Name]*xds.Variant{"shop/b": {named(in): nil}}}
	if !p.touched(resource(in)) || !p.touched(seen) || p.touched(resource(elsewhere)) || p.touched(xds.Change{}) {
		t.Error("what carries the policy counts, nothing else")
	}
	p.reaches("shop/p\x00shop/a", nil, false)
	p.exists("shop/p", 0, false)
	p.changed = false
	if p.touched(resource(in)) || len(p.carriers)+len(p.reach) != 0 {
		t.Error("the policy is gone")
	}
}

// TestShapedReach: a policy that shapes a Cluster reaches the proxies that see it, each once, however many of
// the scopes that it sees have it, and as long as it does.
func TestShapedReach(t *testing.T) {
	p := newPolicies()
	cluster := xds.Resource{Name: xds.Name{Type: typeURL(mesh.KindCluster), Name: "service/shop/cart/80"}}
	everywhere := mesh.Want{Scope: mesh.MeshScope, Kind: mesh.KindCluster, Name: cluster.Name.Name}
	inShop := mesh.Want{Scope: mesh.NamespaceScope("shop"), Kind: mesh.KindCluster, Name: cluster.Name.Name}
	atGateway := mesh.Want{Scope: "shop/web", Kind: mesh.KindCluster, Name: cluster.Name.Name}
	p.seen(cluster, everywhere, true)
	p.shaped(cluster, []string{"shop/breaker"})
	p.exists("shop/breaker", 1, true)
	p.seen(cluster, inShop, true)
	p.seen(cluster, atGateway, true)
	fact := func(scope string, acknowledged uint64) xds.Fact {
		return xds.Fact{Proxy: xds.Proxy{Scope: scope}, Acknowledged: acknowledged}
	}
	proxies := bySight([]xds.Fact{fact("@pod/shop/cart/1", 7), fact("@pod/back/stock/1", 6), fact("shop/web", 7), fact("shop/other", 7)})
	revisions := map[mesh.Want]uint64{everywhere: 6, inShop: 7, atGateway: 8}
	counts := func() (acknowledged, total int32) {
		h := holding(p.of("shop/breaker"), proxies, func(w mesh.Want) (xds.Sight, bool) { return xds.Sight{Revision: revisions[w]}, true })
		return h.Acknowledged, h.Total
	}
	if a, total := counts(); a != 2 || total != 3 {
		t.Errorf("%d of %d; want 2 of 3: the Gateway's is behind", a, total)
	}
	p.seen(cluster, everywhere, false)
	if a, total := counts(); a != 1 || total != 2 {
		t.Errorf("%d of %d; want 1 of 2: namespace back sees it no more", a, total)
	}
	p.shaped(cluster, nil)
	p.exists("shop/breaker", 0, false)
	if len(p.reach)+len(p.carriers)+len(p.by) != 0 {
		t.Errorf("it shapes nothing: %v, %v", p.reach, p.carriers)
	}
}

// TestRefusedArrangement: a proxy that refuses endpoints as a policy arranges them now is named, with its word; not
// one that refused what they were.
func TestRefusedArrangement(t *testing.T) {
	p, here := newPolicies(), mesh.At("topology.kubernetes.io/zone=a", mesh.MeshScope)
	w := mesh.Want{Scope: here, Kind: mesh.KindEndpoints, Name: "service/shop/cart/80", Variant: "topology.kubernetes.io/zone=a"}
	at := xds.Resource{Name: named(w), Variant: xds.Variant(w.Variant)}
	p.exists("shop/near", 1, true)
	p.seen(at, w, true)
	p.shaped(at, []string{"shop/near"})
	sight := func(mesh.Want) (xds.Sight, bool) { return xds.Sight{Revision: 5, Version: "two"}, true }
	p.published(sight)
	for version, want := range map[string]int{"one": 0, "two": 1} {
		fact := xds.Fact{
			Proxy:        xds.Proxy{Identity: xds.Identity{Namespace: "shop", Pod: "web"}, Scope: mesh.At("topology.kubernetes.io/zone=a", "@pod/shop/web/1")},
			Acknowledged: 6, Refused: []xds.Refusal{{Name: named(w), Version: version, Detail: "no"}},
		}
		h := holding(p.of("shop/near"), bySight([]xds.Fact{fact}), sight)
		if len(h.Refused) != want || int(h.Acknowledged) != 1-want {
			t.Errorf("refused %s: %+v", version, h)
		}
		if want > 0 && h.Refused[0].Resource != "endpoints service/shop/cart/80" {
			t.Errorf("it names %+v", h.Refused)
		}
	}
}

// TestArrangedReach: what is to be acknowledged of a policy that arranges endpoints is the commit in which it did so
// anew, by another generation or of other endpoints, not what became of them since.
func TestArrangedReach(t *testing.T) {
	p := newPolicies()
	here := mesh.At("topology.kubernetes.io/zone=a", mesh.MeshScope)
	want := func(service, variant string) (xds.Resource, mesh.Want) {
		w := mesh.Want{Scope: here, Kind: mesh.KindEndpoints, Name: "service/shop/" + service + "/80", Variant: variant}
		return xds.Resource{Name: named(w), Variant: xds.Variant(variant)}, w
	}
	cart, ofCart := want("cart", "topology.kubernetes.io/zone=a")
	stock, ofStock := want("stock", "topology.kubernetes.io/zone=a")
	everywhere, ofAll := want("cart", "")
	revisions := map[mesh.Want]uint64{ofCart: 5, ofStock: 9}
	sight := func(w mesh.Want) (xds.Sight, bool) { return xds.Sight{Revision: revisions[w]}, true }
	proxies := bySight([]xds.Fact{
		{Proxy: xds.Proxy{Scope: mesh.At("topology.kubernetes.io/zone=a", "@pod/shop/cart/1")}, Acknowledged: 6},
		{Proxy: xds.Proxy{Scope: mesh.At("topology.kubernetes.io/zone=b", "@pod/shop/cart/1")}, Acknowledged: 6},
	})
	expect := func(what string, acknowledged, total int32) {
		t.Helper()
		p.published(sight)
		if h := holding(p.of("shop/near"), proxies, sight); h.Acknowledged != acknowledged || h.Total != total {
			t.Errorf("%s: %d of %d; want %d of %d", what, h.Acknowledged, h.Total, acknowledged, total)
		}
	}
	p.exists("shop/near", 1, true)
	for at, w := range map[xds.Resource]mesh.Want{cart: ofCart, everywhere: ofAll} {
		p.seen(at, w, true)
		p.shaped(at, []string{"shop/near"})
	}
	expect("it is new", 1, 1)
	revisions[ofCart] = 7
	expect("an endpoint came", 1, 1)
	p.exists("shop/near", 2, true)
	expect("it says something else", 0, 1)
	revisions[ofCart] = 5
	p.seen(cart, ofCart, false)
	expect("it arranges nothing", 0, 0)
	p.seen(stock, ofStock, true)
	p.shaped(stock, []string{"shop/near"})
	expect("it arranges other endpoints", 0, 1)
	p.shaped(stock, nil)
	p.exists("shop/near", 0, false)
	if len(p.carriers)+len(p.reach) != 0 {
		t.Errorf("it is gone: %v, %v", p.reach, p.carriers)
	}
}
