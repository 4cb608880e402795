package core

import (
	"cmp"
	"slices"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// policies knows how far each MeshPolicy, and each TrafficTarget, reaches, and what was last counted of it.
//
//	mesh.Reaches ─┐
//	xds.Facts ────┴→ Holdings, an input of the next commit → mesh.PolicyStatus
type policies struct {
	reach    map[string]*reach // by the policy's key
	counted  map[string]cluster.Holding
	carriers map[xds.Name]int // of how many Wants of policies
	changed  bool             // some reach did, in the commit under way
}

// reach is how far a policy reaches: what must be acknowledged of one generation of it.
type reach struct {
	generation int64
	wants      map[string][]mesh.Want // the resources that carry it, by scope
}

// publishPolicies keeps the status of every MeshPolicy, and how far it reaches.
func (c *Core) publishPolicies() {
	c.policies = policies{reach: map[string]*reach{}, counted: map[string]cluster.Holding{}, carriers: map[xds.Name]int{}}
	incr.Keep(mesh.Memo(c.mesh, "generation", c.mesh.PolicyGeneration), c.policies.exists, c.tables.MeshPolicies)
	incr.Keep(mesh.Memo(c.mesh, "carriers", c.mesh.Carriers), c.policies.reaches, c.mesh.Reaches)
	keepStatus(c, "MeshPolicy", c.mesh.PolicyStatus, c.tables.MeshPolicies)
	incr.Keep(mesh.Memo(c.mesh, "targetGeneration", c.mesh.TargetGeneration), func(k string, generation int64, has bool) {
		c.policies.exists(mesh.TargetKey(k), generation, has)
	}, c.tables.TrafficTargets)
	incr.Keep(mesh.Memo(c.mesh, "targetCarriers", c.mesh.TargetCarriers), c.policies.reaches, c.mesh.TargetReaches)
	keepStatus(c, mesh.SMITCPRoute, c.mesh.SMITCPRouteStatus, c.tables.SMITCPRoutes)
	keepStatus(c, mesh.SMIUDPRoute, c.mesh.SMIUDPRouteStatus, c.tables.SMIUDPRoutes)
	keepStatus(c, "TrafficTarget", c.mesh.TrafficTargetStatus, c.tables.TrafficTargets)
}

// exists notes a policy's generation.
func (p *policies) exists(k string, generation int64, _ bool) {
	p.changed = true
	p.of(k).generation = generation
	p.tidy(k)
}

// reaches notes what carries a policy to the proxies of a scope.
func (p *policies) reaches(k string, wants []mesh.Want, has bool) {
	p.changed = true
	policy, scope := mesh.ParseReach(k)
	r := p.of(policy)
	for _, w := range r.wants[scope] {
		if p.carriers[named(w)]--; p.carriers[named(w)] == 0 {
			delete(p.carriers, named(w))
		}
	}
	for _, w := range wants {
		p.carriers[named(w)]++
	}
	if delete(r.wants, scope); has {
		r.wants[scope] = wants
	}
	p.tidy(policy)
}

func (p *policies) of(policy string) *reach {
	if p.reach[policy] == nil {
		p.reach[policy] = &reach{wants: map[string][]mesh.Want{}}
	}
	return p.reach[policy]
}

// tidy forgets a policy that is gone.
func (p *policies) tidy(policy string) {
	if r := p.reach[policy]; r.generation == 0 && len(r.wants) == 0 {
		delete(p.reach, policy)
	}
}

// touched says whether a commit changed how far policies reach, or what carries them.
func (p *policies) touched(change xds.Change) bool {
	if p.changed || len(p.carriers) == 0 {
		return p.changed
	}
	for r := range change.Resources {
		if p.carriers[r.Name] > 0 {
			return true
		}
	}
	for _, names := range change.Scopes {
		for n := range names {
			if p.carriers[n] > 0 {
				return true
			}
		}
	}
	return false
}

// count tells the next commit how far policies have come, once this one is published: what a proxy
// must acknowledge is not known before.
func (c *Core) count() {
	c.policies.changed = false
	if len(c.policies.reach)+len(c.policies.counted) == 0 {
		return
	}
	proxies := map[string][]xds.Fact{}
	for _, p := range c.facts.All() {
		if p.Acknowledged > 0 { // the others have nothing yet, and serve nothing
			proxies[p.Scope] = append(proxies[p.Scope], p)
		}
	}
	for k, r := range c.policies.reach {
		h := holding(r, proxies, func(w mesh.Want) (xds.Sight, bool) { return c.store.Sight(w.Scope, named(w)) })
		if was, is := c.policies.counted[k]; is && was.Same(h) {
			continue
		}
		c.policies.counted[k] = h
		cluster.Put(c.inbox, c.tables.Holdings, k, h)
	}
	for k := range c.policies.counted {
		if _, is := c.policies.reach[k]; !is {
			delete(c.policies.counted, k)
			cluster.Delete(c.inbox, c.tables.Holdings, k)
		}
	}
}

func named(w mesh.Want) xds.Name { return xds.Name{Type: typeURL(w.Kind), Name: w.Name} }

// maxRefusals is how many a Holding names.
const maxRefusals = 32

// holding counts the proxies of the scopes that a policy reaches, and those that have applied what
// their scope sees of the resources that carry it.
func holding(r *reach, proxies map[string][]xds.Fact, sight func(mesh.Want) (xds.Sight, bool)) cluster.Holding {
	h := cluster.Holding{Generation: r.generation}
	for scope, ps := range proxies {
		ws := r.wants[scope]
		if len(ws) == 0 {
			continue
		}
		for _, p := range ps {
			h.Total++
			refused, behind := standing(p, ws, sight)
			if h.Refused = append(h.Refused, refused...); len(refused) == 0 && !behind {
				h.Acknowledged++
			}
		}
	}
	slices.SortFunc(h.Refused, func(a, b cluster.PolicyRefusal) int {
		return cmp.Or(cmp.Compare(a.Proxy, b.Proxy), cmp.Compare(a.Resource, b.Resource))
	})
	h.Refused = h.Refused[:min(len(h.Refused), maxRefusals)]
	return h
}

// standing is what a proxy refuses of some resources, and whether it has yet to apply one.
func standing(p xds.Fact, wants []mesh.Want, sight func(mesh.Want) (xds.Sight, bool)) (refused []cluster.PolicyRefusal, behind bool) {
	for _, w := range wants {
		s, seen := sight(w)
		if !seen {
			continue
		}
		behind = behind || p.Acknowledged < s.Revision
		for _, r := range p.Refused {
			if r.Name == named(w) && r.Version == s.Version {
				refused = append(refused, cluster.PolicyRefusal{Proxy: p.Namespace + "/" + p.Pod, Resource: string(w.Kind) + " " + w.Name, Detail: r.Detail})
			}
		}
	}
	return refused, behind
}
