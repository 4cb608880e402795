package core

import (
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// arrangement are the endpoints that a policy arranges for the proxies of a scope. Those come and go without the
// policy: what the proxies have to acknowledge of it is the last commit in which it arranged some anew.
type arrangement struct {
	wants    map[mesh.Want]struct{}
	revision uint64
}

// has says whether it is endpoints as they are arranged now that a proxy refused.
func (a *arrangement) has(r xds.Refusal, sight func(mesh.Want) (xds.Sight, bool)) bool {
	if a == nil || r.Name.Type != typeURL(mesh.KindEndpoints) {
		return false
	}
	for w := range a.wants {
		if w.Name == r.Name.Name {
			s, seen := sight(w)
			return seen && s.Version == r.Version
		}
	}
	return false
}

// arrangedWant are endpoints that a policy arranges.
type arrangedWant struct {
	policy string
	mesh.Want
}

// arrange notes that a policy arranges endpoints for the proxies of a scope, or does no more.
func (p *policies) arrange(policy string, w mesh.Want, has bool) {
	r := p.of(policy)
	a := r.arranged[w.Scope]
	if has {
		if a == nil {
			a = &arrangement{wants: map[mesh.Want]struct{}{}}
			r.arranged[w.Scope] = a
		}
		a.wants[w] = struct{}{}
		p.anew = append(p.anew, arrangedWant{policy, w})
		return
	}
	if a != nil {
		if delete(a.wants, w); len(a.wants) == 0 {
			delete(r.arranged, w.Scope)
		}
	}
	p.tidy(policy)
}

// rearranged notes that another generation of a policy arranges what it does.
func (p *policies) rearranged(policy string) {
	for _, a := range p.of(policy).arranged {
		for w := range a.wants {
			p.anew = append(p.anew, arrangedWant{policy, w})
		}
	}
}

// published notes in which commits what was arranged anew came to be seen.
func (p *policies) published(sight func(mesh.Want) (xds.Sight, bool)) {
	for _, n := range p.anew {
		if p.reach[n.policy] == nil || p.reach[n.policy].arranged[n.Scope] == nil {
			continue // it is gone again
		}
		a := p.reach[n.policy].arranged[n.Scope]
		if s, seen := sight(n.Want); seen {
			a.revision = max(a.revision, s.Revision)
		}
	}
	p.anew = nil
}
