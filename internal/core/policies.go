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
	heard
	reach    map[string]*reach // by the policy's key
	counted  map[string]cluster.Holding
	carriers map[carrier]map[string]int // of how many Wants of which policies
	stale    map[string]struct{}        // those to be counted anew
	anew     []arrangedWant             // what was arranged, or by another generation, in the commit under way
}

// carrier is a resource or, with a scope and without a variant, what a scope sees under a name.
type carrier struct {
	scope string
	xds.Resource
}

func carriersOf(w mesh.Want) [2]carrier {
	return [2]carrier{{Resource: xds.Resource{Name: named(w), Variant: xds.Variant(w.Variant)}}, {w.Scope, xds.Resource{Name: named(w)}}}
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
	return policies{shapes: newShapes(), reach: map[string]*reach{}, counted: map[string]cluster.Holding{},
		carriers: map[carrier]map[string]int{}, stale: map[string]struct{}{}}
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
	p.of(k).generation = generation
	p.rearranged(k)
	p.tidy(k)
}

// reaches notes what carries a policy to the proxies of a scope.
func (p *policies) reaches(k string, wants []mesh.Want, has bool) {
	policy, scope := mesh.ParseReach(k)
	r := p.of(policy)
	for _, w := range r.wants[scope] {
		p.carries(policy, w, -1)
	}
	for _, w := range wants {
		p.carries(policy, w, 1)
	}
	if delete(r.wants, scope); has {
		r.wants[scope] = wants
	}
	p.tidy(policy)
}

// carries counts the Wants of policies by what carries them.
func (p *policies) carries(policy string, w mesh.Want, by int) {
	for _, c := range carriersOf(w) {
		of := p.carriers[c]
		if of == nil {
			of = map[string]int{}
			p.carriers[c] = of
		}
		if of[policy] += by; of[policy] == 0 {
			delete(of, policy)
		}
		if len(of) == 0 {
			delete(p.carriers, c)
		}
	}
}

// of is the reach of a policy, which is about to change.
func (p *policies) of(policy string) *reach {
	p.stale[policy] = struct{}{}
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

// touch notes which policies are carried by what a commit changes.
func (p *policies) touch(change xds.Change) {
	note := func(c carrier) {
		for policy := range p.carriers[c] {
			p.stale[policy] = struct{}{}
		}
	}
	for r := range change.Resources {
		note(carrier{Resource: r})
	}
	for scope, names := range change.Scopes {
		for n := range names {
			note(carrier{scope, xds.Resource{Name: n}})
		}
	}
}

// count tells the next commit how far policies have come, once this one is published: what a proxy
// must acknowledge is not known before.
func (c *Core) count(answered bool) {
	c.policies.behind = c.policies.behind || answered
	if c.policies.behind && len(c.policies.reach) > 0 {
		c.policies.hear(c.facts.All())
	}
	for _, k := range c.policies.recount(func(w mesh.Want) (xds.Sight, bool) { return c.store.Sight(w.Scope, named(w)) }) {
		if h, is := c.policies.counted[k]; is {
			cluster.Put(c.inbox, c.tables.Holdings, k, h)
		} else {
			cluster.Delete(c.inbox, c.tables.Holdings, k)
		}
	}
}

// recount counts the policies of which something is another, and returns those of which the count is.
func (p *policies) recount(sight func(mesh.Want) (xds.Sight, bool)) (differ []string) {
	p.published(sight)
	for k := range p.stale {
		was, had := p.counted[k]
		r, is := p.reach[k]
		if !is {
			if delete(p.counted, k); had {
				differ = append(differ, k)
			}
			continue
		}
		if h := holding(r, p.proxies, sight); !had || !was.Same(h) {
			p.counted[k] = h
			differ = append(differ, k)
		}
	}
	clear(p.stale)
	return differ
}

func named(w mesh.Want) xds.Name { return xds.Name{Type: typeURL(w.Kind), Name: w.Name} }

// maxRefusals is how many a Holding names.
const maxRefusals = 32

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
