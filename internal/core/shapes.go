package core

import (
	"slices"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// shapes knows which resources policies about traffic shaped, and who sees them.
type shapes struct {
	by     map[xds.Resource][]string               // the policies
	wanted map[xds.Resource]map[mesh.Want]struct{} // of the kinds that policies shape
}

func newShapes() shapes {
	return shapes{by: map[xds.Resource][]string{}, wanted: map[xds.Resource]map[mesh.Want]struct{}{}}
}

// shapeable says whether policies may have shaped a resource: of endpoints those that are for some callers only.
func shapeable(w mesh.Want) bool {
	switch w.Kind {
	case mesh.KindCluster, mesh.KindVirtualHost, mesh.KindRoutes, mesh.KindExtension:
		return true
	}
	return w.Kind == mesh.KindEndpoints && w.Variant != ""
}

// shaped notes by which policies a resource was shaped.
func (p *policies) shaped(at xds.Resource, by []string) {
	was := p.by[at]
	for _, policy := range was {
		if !slices.Contains(by, policy) {
			p.reshape(policy, at, false)
		}
	}
	for _, policy := range by {
		if !slices.Contains(was, policy) {
			p.reshape(policy, at, true)
		}
	}
	if delete(p.by, at); len(by) > 0 {
		p.by[at] = by
	}
}

func (p *policies) reshape(policy string, at xds.Resource, has bool) {
	for w := range p.wanted[at] {
		p.carry(policy, w, has)
	}
}

// seen notes that the proxies of a scope see a resource, or do no more.
func (p *policies) seen(at xds.Resource, w mesh.Want, has bool) {
	if !shapeable(w) {
		return
	}
	if has {
		if p.wanted[at] == nil {
			p.wanted[at] = map[mesh.Want]struct{}{}
		}
		p.wanted[at][w] = struct{}{}
	} else if delete(p.wanted[at], w); len(p.wanted[at]) == 0 {
		delete(p.wanted, at)
	}
	for _, policy := range p.by[at] {
		p.carry(policy, w, has)
	}
}

// carry notes that a resource carries a policy to the proxies of a scope, or does no more.
func (p *policies) carry(policy string, w mesh.Want, has bool) {
	if w.Kind == mesh.KindEndpoints {
		p.arrange(policy, w, has)
		return
	}
	r := p.of(policy)
	wants := r.shaped[w.Scope]
	if _, had := wants[w]; had == has {
		return
	}
	if has {
		p.carries(policy, w, 1)
		if wants == nil {
			wants = map[mesh.Want]struct{}{}
			r.shaped[w.Scope] = wants
		}
		wants[w] = struct{}{}
		return
	}
	p.carries(policy, w, -1)
	if delete(wants, w); len(wants) == 0 {
		delete(r.shaped, w.Scope)
	}
	p.tidy(policy)
}
