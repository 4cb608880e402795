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
//	mesh.Reaches ──────────────┐
//	resources, scopes → shapes ┤
//	xds.Facts ─────────────────┴→ Holdings, an input of the next commit → mesh.PolicyStatus
type policies struct {
	shapes
	reach    map[string]*reach // by the policy's key
	counted  map[string]cluster.Holding
	carriers map[xds.Name]int // of how many Wants of policies
	changed  bool             // some reach did, in the commit under way
	anew     []arrangedWant   // what was arranged, or by another generation, in the commit under way
}

// reach is how far a policy reaches: what must be acknowledged of one generation of it, by the scopes that
// see it.
type reach struct {
	generation int64
	wants      map[string][]mesh.Want            // the resources that carry it to whom it selects
	shaped     map[string]map[mesh.Want]struct{} // those that its sections about traffic shaped
	arranged   map[string]*arrangement           // endpoints, in place of those: these change all the time
}

func newPolicies() policies {
	return policies{shapes: newShapes(), reach: map[string]*reach{}, counted: map[string]cluster.Holding{}, carriers: map[xds.Name]int{}}
}

// publishPolicies keeps the status of every MeshPolicy, and how far it reaches.
func (c *Core) publishPolicies() {
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
	p.rearranged(k)
	p.tidy(k)
}

// reaches notes what carries a policy to the proxies of a scope.
func (p *policies) reaches(k string, wants []mesh.Want, has bool) {
	p.changed = true
	policy, scope := mesh.ParseReach(k)
	r := p.of(policy)
	for _, w := range r.wants[scope] {
		p.carries(w, -1)
	}
	for _, w := range wants {
		p.carries(w, 1)
	}
	if delete(r.wants, scope); has {
		r.wants[scope] = wants
	}
	p.tidy(policy)
}

// carries counts the Wants of policies by name.
func (p *policies) carries(w mesh.Want, by int) {
	if p.carriers[named(w)] += by; p.carriers[named(w)] == 0 {
		delete(p.carriers, named(w))
	}
}

func (p *policies) of(policy string) *reach {
	if p.reach[policy] == nil {
		p.reach[policy] = &reach{wants: map[string][]mesh.Want{}, shaped: map[string]map[mesh.Want]struct{}{}, arranged: map[string]*arrangement{}}
	}
	return p.reach[policy]
}

// tidy forgets a policy that is gone.
func (p *policies) tidy(policy string) {
	if r := p.reach[policy]; r.generation == 0 && len(r.wants)+len(r.shaped)+len(r.arranged) == 0 {
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
	sight := func(w mesh.Want) (xds.Sight, bool) { return c.store.Sight(w.Scope, named(w)) }
	c.policies.published(sight)
	if len(c.policies.reach)+len(c.policies.counted) == 0 {
		return
	}
	proxies := bySight(c.facts.All())
	for k, r := range c.policies.reach {
		h := holding(r, proxies, sight)
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

// seer is a proxy with the scopes that it sees the names of, from the inside out.
type seer struct {
	xds.Fact
	seen []string
}

// bySight are proxies by the scopes that they see. Those that have acknowledged nothing have nothing yet, and
// serve nothing.
func bySight(all []xds.Fact) map[string][]seer {
	out, seen := map[string][]seer{}, map[string][]string{}
	for _, p := range all {
		if p.Acknowledged == 0 {
			continue
		}
		if seen[p.Scope] == nil {
			seen[p.Scope] = mesh.SeenIn(p.Scope)
		}
		for _, scope := range seen[p.Scope] {
			out[scope] = append(out[scope], seer{p, seen[p.Scope]})
		}
	}
	return out
}

// standard is what a proxy that sees a scope must have applied of what carries a policy there.
type standard struct {
	revision uint64 // all of it, but for what it refused
	versions map[xds.Name]string
	kinds    map[xds.Name]mesh.Kind
	arranged *arrangement
}

func (r *reach) standards(sight func(mesh.Want) (xds.Sight, bool)) map[string]standard {
	out := map[string]standard{}
	add := func(scope string, w mesh.Want) {
		s, ok := out[scope]
		if !ok {
			s = standard{versions: map[xds.Name]string{}, kinds: map[xds.Name]mesh.Kind{}}
		}
		if seen, published := sight(w); published {
			s.revision, s.versions[named(w)], s.kinds[named(w)] = max(s.revision, seen.Revision), seen.Version, w.Kind
		}
		out[scope] = s
	}
	for scope, wants := range r.wants {
		for _, w := range wants {
			add(scope, w)
		}
	}
	for scope, wants := range r.shaped {
		for w := range wants {
			add(scope, w)
		}
	}
	for scope, a := range r.arranged {
		s := out[scope]
		s.revision, s.arranged = max(s.revision, a.revision), a
		out[scope] = s
	}
	return out
}

// holding counts the proxies that see what carries a policy, by the scopes that they see, and those that
// have applied it.
func holding(r *reach, proxies map[string][]seer, sight func(mesh.Want) (xds.Sight, bool)) cluster.Holding {
	h := cluster.Holding{Generation: r.generation}
	standards := r.standards(sight)
	for scope := range standards {
		for _, p := range proxies[scope] {
			if innermost(p.seen, standards) != scope {
				continue // it is counted there
			}
			h.Total++
			refused, behind := standing(p, standards, sight)
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

// innermost is the first of the scopes that a proxy sees in which something is asked of it.
func innermost(seen []string, standards map[string]standard) string {
	for _, scope := range seen {
		if _, asked := standards[scope]; asked {
			return scope
		}
	}
	return ""
}

// standing is what a proxy refuses of what the scopes that it sees ask of it, and whether it has yet to apply
// some of it.
func standing(p seer, standards map[string]standard, sight func(mesh.Want) (xds.Sight, bool)) (refused []cluster.PolicyRefusal, behind bool) {
	for _, scope := range p.seen {
		s := standards[scope]
		behind = behind || p.Acknowledged < s.revision
		for _, r := range p.Refused {
			kind := s.kinds[r.Name]
			if s.arranged.has(r, sight) {
				kind = mesh.KindEndpoints
			} else if version, asked := s.versions[r.Name]; !asked || version != r.Version {
				continue
			}
			refused = append(refused, cluster.PolicyRefusal{Proxy: p.Namespace + "/" + p.Pod, Resource: string(kind) + " " + r.Name.Name, Detail: r.Detail})
		}
	}
	return refused, behind
}
