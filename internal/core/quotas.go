package core

import (
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/quota"
	"github.com/weft-mesh/weft/internal/xds"
)

// Asks says who a proxy is to the quota service; false: it is none of ours. All that a sidecar sends is from its
// own pod, whose ServiceAccount that is; it is written as no name in a client's certificate is.
func (c *Core) Asks(who xds.Identity) (quota.Who, bool) {
	scope, ok := c.ScopeOf(who)
	if !ok {
		return quota.Who{}, false
	}
	out := quota.Who{Scopes: mesh.SeenIn(scope)}
	if mesh.OfPod(scope) {
		out.Caller = "ServiceAccount " + who.Namespace + "/" + who.ServiceAccount
	}
	return out, true
}

// publishQuotas keeps the limits that all proxies count together in step with the policies. What it tells is
// there before a proxy is told to ask for it.
func (c *Core) publishQuotas() {
	limits := func(q *incr.Query, k string) (out []quota.Limit) {
		p, ok := c.tables.MeshPolicies.Get(q, k)
		if !ok {
			return nil
		}
		for _, r := range policy.All {
			if r.Quotas != nil {
				out = append(out, r.Quotas(&p.Spec)...)
			}
		}
		return out
	}
	incr.Keep(mesh.Memo(c.mesh, "quotas", limits), func(k string, limits []quota.Limit, _ bool) {
		c.Quota.SetPolicy(k, limits)
	}, c.tables.MeshPolicies)
}

// quotaSeen notes that proxies see, or do not any more, a filter that asks for a place.
func (c *Core) quotaSeen(w mesh.Want, has bool) {
	if at, is := mesh.IsQuota(w.Name); is && w.Kind == mesh.KindExtension {
		c.Quota.See(at, w.Scope, has)
	}
}

// quotaMade notes which policies such a filter asks about.
func (c *Core) quotaMade(name string, by []string) {
	if at, is := mesh.IsQuota(name); is {
		c.Quota.SetPlace(at, by)
	}
}
