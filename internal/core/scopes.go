package core

import (
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// scopes are who may see what, as of the last commit.
type scopes struct {
	gateways map[string]struct{}   // by namespace/ServiceAccount
	pods     map[string]mesh.Proxy // by namespace/pod
}

// ScopeOf is the scope of a proxy, at its locality if that is known; false: it is none of ours. A sidecar is
// known by the pod that its token is bound to, a Gateway's proxy by its ServiceAccount.
func (c *Core) ScopeOf(who xds.Identity) (string, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	p, ok := c.scopes.pods[who.Namespace+"/"+who.Pod]
	ok = ok && p.UID == who.PodUID
	account := who.Namespace + "/" + who.ServiceAccount
	if ok && p.Scope != account {
		return mesh.At(p.At, p.Scope), true
	}
	if _, gateway := c.scopes.gateways[account]; !gateway || !ok {
		return account, gateway
	}
	return mesh.At(p.At, account), true
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
	incr.Keep(mesh.Memo(c.mesh, "proxy", c.mesh.Proxy), func(pod string, p mesh.Proxy, has bool) {
		c.later(func() {
			was := c.scopes.pods[pod]
			delete(c.scopes.pods, pod)
			if has && p.Scope != "" {
				c.scopes.pods[pod] = p
			}
			if now := c.scopes.pods[pod]; was != now { // a Gateway's proxy may have come before its pod was known
				c.rescope(was.UID)
				c.rescope(now.UID)
			}
		})
	}, c.tables.Pods)
}

// later runs f when the commit under way is published.
func (c *Core) later(f func()) { c.afterwards = append(c.afterwards, f) }

// rescope notes that a pod, if there is one, has another scope once the commit under way is published.
func (c *Core) rescope(uid string) {
	if uid == "" {
		return
	}
	if c.rescoped == nil {
		c.rescoped = map[string]struct{}{}
	}
	c.rescoped[uid] = struct{}{}
}

// settle runs what waited for the publication, and says which pods' scopes are others now, by their UIDs.
func (c *Core) settle() (rescoped map[string]struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.afterwards {
		f()
	}
	rescoped, c.rescoped, c.afterwards = c.rescoped, nil, nil
	return rescoped
}
