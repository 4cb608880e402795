package core

import (
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/mesh"
)

// ports are those that the ListenerSets of each Gateway ask for, as of the last commit.
type ports struct {
	of      map[string][]gateway.Port // by Gateway
	changed []string                  // Gateways
}

// SetPorts are the ports that the ListenerSets of a Gateway ask for; not known before the Gateway is.
func (c *Core) SetPorts(key string) (ports []gateway.Port, known bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	ports, known = c.ports.of[key]
	return ports, known
}

func (c *Core) keepPorts() {
	incr.Keep(mesh.Memo(c.mesh, "ports", c.mesh.SetPorts), func(key string, now []gateway.Port, has bool) {
		c.later(func() {
			c.ports.of[key] = now
			if !has {
				delete(c.ports.of, key)
			}
			c.ports.changed = append(c.ports.changed, key)
		})
	}, c.tables.Gateways)
}

// tellPorts tells of what changed once whoever is told can ask.
func (c *Core) tellPorts() {
	for _, key := range c.ports.changed {
		if c.OnPorts != nil {
			c.OnPorts(key)
		}
	}
	c.ports.changed = nil
}
