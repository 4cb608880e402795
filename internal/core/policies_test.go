package core

import (
	"math/rand"
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

// TestRecount: proxies are counted again when a policy comes to reach others, when what carries it changes or
// when one that it asks something of answers, and not when anything else does.
func TestRecount(t *testing.T) {
	in := mesh.Want{Scope: "shop/a", Kind: mesh.KindListener, Name: "inbound", Variant: "shop/a"}
	at := func(variant xds.Variant) xds.Change {
		return xds.Change{Resources: map[xds.Resource]*discovery.Resource{{Name: named(in), Variant: variant}: nil}}
	}
	seen := func(scope string) xds.Change {
		return xds.Change{Scopes: map[string]map[xds.Name]*xds.Variant{scope: {named(in): nil}}}
	}
	fact := func(scope string, acknowledged uint64) xds.Fact {
		return xds.Fact{Proxy: xds.Proxy{Scope: scope, Stream: uint64(len(scope))}, Acknowledged: acknowledged}
	}
	p := newPolicies()
	stale := func(what string, want bool) {
		t.Helper()
		if _, is := p.stale["shop/p"]; is != want {
			t.Errorf("%s: to be counted: %t", what, is)
		}
		clear(p.stale)
	}
	p.touch(at("shop/a"))
	stale("there is no policy", false)
	p.exists("shop/p", 1, true)
	stale("it is new", true)
	p.reaches("shop/p\x00shop/a", []mesh.Want{in}, true)
	stale("it reaches a scope", true)
	for what, c := range map[string]struct {
		do   func()
		want bool
	}{
		"what carries it":         {func() { p.touch(at("shop/a")) }, true},
		"the same elsewhere":      {func() { p.touch(at("shop/b")) }, false},
		"what its scope sees":     {func() { p.touch(seen("shop/a")) }, true},
		"what another scope sees": {func() { p.touch(seen("shop/b")) }, false},
	} {
		c.do()
		stale(what, c.want)
	}
	p.hear([]xds.Fact{fact("shop/a", 1), fact("shop/other", 1)})
	stale("a proxy came", true)
	p.hear([]xds.Fact{fact("shop/a", 1), fact("shop/other", 2)})
	stale("another one answered", false)
	p.hear([]xds.Fact{fact("shop/a", 2), fact("shop/other", 2)})
	stale("its proxy answered", true)
	p.hear([]xds.Fact{fact("shop/other", 2)})
	stale("its proxy went", true)
	p.reaches("shop/p\x00shop/a", nil, false)
	p.exists("shop/p", 0, false)
	clear(p.stale)
	p.touch(at("shop/a"))
	stale("it is gone", false)
	if len(p.carriers)+len(p.reach) != 0 {
		t.Errorf("it is gone: %v, %v", p.carriers, p.reach)
	}
}

// TestRecountOracle: what is counted of policies of which something changed is what is counted of all of them.
func TestRecountOracle(t *testing.T) {
	for seed := range int64(200) {
		w := newHoldings(seed)
		for range 60 {
			w.step()
			w.policies.recount(w.sight)
			proxies := bySight(w.facts)
			for k, r := range w.policies.reach {
				if got, want := w.policies.counted[k], holding(r, proxies, w.sight); !got.Same(want) {
					t.Fatalf("seed %d: %s is counted as %+v; want %+v", seed, k, got, want)
				}
			}
			if len(w.policies.counted) != len(w.policies.reach) {
				t.Fatalf("seed %d: %d policies are counted, there are %d", seed, len(w.policies.counted), len(w.policies.reach))
			}
		}
	}
}

// holdings are drawn policies, resources that carry them, and proxies.
type holdings struct {
	chance
	policies policies
	views    map[mesh.Want]xds.Sight // those that are seen; by scope and name there is one
	facts    []xds.Fact
	revision uint64
}

func newHoldings(seed int64) *holdings {
	return &holdings{chance: chance{Rand: rand.New(rand.NewSource(seed))}, policies: newPolicies(), views: map[mesh.Want]xds.Sight{}}
}

func (w *holdings) sight(want mesh.Want) (xds.Sight, bool) {
	s, seen := w.views[mesh.Want{Scope: want.Scope, Kind: want.Kind, Name: want.Name}]
	return s, seen
}

func (w *holdings) want() mesh.Want {
	if w.Intn(2) == 0 {
		scope := w.of("shop/a", "@pod/shop/cart/1")
		return mesh.Want{Scope: scope, Kind: mesh.KindListener, Name: "inbound", Variant: scope}
	}
	return mesh.Want{Scope: w.of("shop/a", "@pod/shop/cart/1", mesh.MeshScope, mesh.NamespaceScope("shop")), Kind: mesh.KindCluster, Name: w.of("cart", "stock")}
}

// step does one thing, and tells the policies of it as a commit does.
func (w *holdings) step() {
	want, policy := w.want(), w.of("shop/p", "shop/q")
	at := xds.Resource{Name: named(want), Variant: xds.Variant(want.Variant)}
	seen := mesh.Want{Scope: want.Scope, Kind: want.Kind, Name: want.Name}
	change := xds.Change{Resources: map[xds.Resource]*discovery.Resource{}, Scopes: map[string]map[xds.Name]*xds.Variant{}}
	w.revision++
	switch w.Intn(6) {
	case 0:
		w.policies.exists(policy, int64(w.Intn(4)), true)
	case 1:
		has := w.Intn(2) == 0
		w.policies.reaches(policy+"\x00"+want.Scope, []mesh.Want{want}[:w.Intn(2)], has)
	case 2:
		w.policies.seen(at, want, true)
		w.views[seen] = xds.Sight{Version: w.of("one", "two"), Revision: w.revision}
		change.Scopes[want.Scope] = map[xds.Name]*xds.Variant{at.Name: nil}
	case 3:
		w.policies.seen(at, want, false)
		delete(w.views, seen)
		change.Scopes[want.Scope] = map[xds.Name]*xds.Variant{at.Name: nil}
	case 4:
		w.policies.shaped(at, []string{policy}[:w.Intn(2)])
		change.Resources[at] = nil
		for v := range w.views {
			if named(v) == at.Name && (want.Variant == "" || v.Scope == want.Scope) {
				w.views[v] = xds.Sight{Version: w.of("one", "two"), Revision: w.revision}
			}
		}
	case 5:
		w.answer(xds.Refusal{Name: at.Name, Version: w.of("one", "two"), Detail: "no"})
	}
	w.policies.touch(change)
}

// answer has a proxy come, go or answer.
func (w *holdings) answer(refusal xds.Refusal) {
	stream := uint64(1 + w.Intn(4))
	w.facts = slices.DeleteFunc(slices.Clone(w.facts), func(f xds.Fact) bool { return f.Stream == stream })
	if w.Intn(4) > 0 {
		scope := []string{"shop/a", "@pod/shop/cart/1", "@pod/back/stock/1", "shop/a"}[stream-1]
		w.facts = append(w.facts, xds.Fact{Proxy: xds.Proxy{Scope: scope, Stream: stream}, Acknowledged: uint64(w.Intn(int(w.revision) + 1)), Refused: []xds.Refusal{refusal}[:w.Intn(2)]})
	}
	w.policies.hear(w.facts)
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
