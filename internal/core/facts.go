package core

import (
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// learn turns what proxies answered into inputs, inside a commit.
func (c *Core) learn() {
	own := map[string]uint64{} // scope → the revision that all whose own it is have applied
	listeners := map[string]cluster.Quarantine{}
	for _, p := range c.facts.All() {
		least(own, p.Scope, p.Acknowledged)
		for _, r := range p.Refused {
			c.refused(p, r, listeners)
		}
	}
	c.refuse(listeners)
	accepted := map[string]uint64{} // the same of all who see it
	for of, rev := range own {
		for _, scope := range mesh.SeenIn(of) {
			least(accepted, scope, rev)
		}
	}
	for scope, rev := range accepted {
		c.quarantine.accepted(scope, func(n xds.Name) (version string, ok bool) {
			sight, seen := c.store.Sight(scope, n)
			return sight.Version, seen && sight.Revision <= rev
		})
	}
}

// least keeps the lowest revision of a scope.
func least(of map[string]uint64, scope string, rev uint64) {
	if lowest, known := of[scope]; !known || rev < lowest {
		of[scope] = rev
	}
}

// refused takes in what one proxy refused. Of routes there are variants, of which it sees that of its
// namespace or the ordinary one, as they are at its locality or at any: the version tells which.
func (c *Core) refused(p xds.Fact, r xds.Refusal, listeners map[string]cluster.Quarantine) {
	proxy := p.Namespace + "/" + p.Pod
	switch r.Name.Type {
	case typeURL(mesh.KindVirtualHost), typeURL(mesh.KindRoutes):
		for _, variant := range []string{"", p.Namespace, mesh.There(p.Scope, ""), mesh.There(p.Scope, p.Namespace)} {
			c.quarantine.refused(xds.Resource{Name: r.Name, Variant: xds.Variant(variant)}, r.Version, refusal{proxy, r.Detail})
		}
	case typeURL(mesh.KindListener):
		listeners[r.Name.Name] = cluster.Quarantine{Proxy: proxy, Detail: r.Detail}
	case typeURL(mesh.KindExtension):
		if mesh.IsApart(r.Name.Name) { // which its policy tells of
			return
		}
		listeners[mesh.ListenerOf(r.Name.Name)] = cluster.Quarantine{Proxy: proxy, Detail: r.Detail}
	}
}

// refuse replaces the listeners that are known to be refused.
func (c *Core) refuse(listeners map[string]cluster.Quarantine) {
	var over []string
	c.tables.Refusals.Each(func(name string, _ cluster.Quarantine) {
		if _, still := listeners[name]; !still {
			over = append(over, name)
		}
	})
	for _, name := range over {
		c.tables.Refusals.Delete(name)
	}
	for name, q := range listeners {
		c.tables.Refusals.Set(name, q)
	}
}

func (c *Core) hold(route string, generation int64, why refusal) {
	c.tables.Quarantines.Set(route, cluster.Quarantine{Generation: generation, Proxy: why.proxy, Detail: why.detail})
}

func (c *Core) release(route string) { c.tables.Quarantines.Delete(route) }
