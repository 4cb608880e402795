package core

import (
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// scopes are who may see what, as of the last commit.
type scopes struct {
	gateways map[string]struct{}  // by namespace/ServiceAccount
	pods     map[string]podsScope // by namespace/pod
}

// podsScope is the scope of one pod's sidecar.
type podsScope struct{ uid, scope string }

// ScopeOf is the scope of a proxy; false: it is none of ours. A sidecar is known by the pod that its
// token is bound to.
func (c *Core) ScopeOf(who xds.Identity) (string, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if p, ok := c.scopes.pods[who.Namespace+"/"+who.Pod]; ok && p.uid == who.PodUID {
		return p.scope, true
	}
	scope := who.Namespace + "/" + who.ServiceAccount
	_, ok := c.scopes.gateways[scope]
	return scope, ok
}

// keepScopes keeps the scopes in step with Gateways and pods. What becomes of them is known to
// ScopeOf once it is published.
func (c *Core) keepScopes() {
	of := map[string]string{}
	incr.Keep(mesh.Memo(c.mesh, "scope", c.mesh.Scope), func(gateway, scope string, has bool) {
		if was := of[gateway]; was != "" {
			c.later(func() { delete(c.scopes.gateways, was) })
		}
		delete(of, gateway)
		if has && scope != "" {
			of[gateway] = scope
			c.later(func() { c.scopes.gateways[scope] = struct{}{} })
		}
	}, c.tables.Gateways)
	incr.Keep(mesh.Memo(c.mesh, "sidecar", c.mesh.PodIdentity), func(pod string, id mesh.PodIdentity, has bool) {
		c.later(func() {
			was, known := c.scopes.pods[pod]
			delete(c.scopes.pods, pod)
			if has && id.Scope != "" {
				c.scopes.pods[pod] = podsScope{id.UID, id.Scope}
			}
			c.rescoped = c.rescoped || known && was != c.scopes.pods[pod]
		})
	}, c.tables.Pods)
}

// later runs f when the commit under way is published.
func (c *Core) later(f func()) { c.afterwards = append(c.afterwards, f) }

// settle runs what waited for the publication, and says whether a pod's scope is another one now.
func (c *Core) settle() (rescoped bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.afterwards {
		f()
	}
	rescoped, c.rescoped, c.afterwards = c.rescoped, false, nil
	return rescoped
}
