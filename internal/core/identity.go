package core

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// identities are what the commit under way says of identities. It is told after the proxies are:
// who hears that a certificate is there may ask who has it.
type identities struct {
	changed []mesh.Identity
	gone    []string
	serial  uint64        // of the state of the roots
	told    atomic.Uint64 // the same, of the last commit that was published

	mu    sync.Mutex
	known map[string]mesh.Identity // by ServiceAccount, as of that commit or a later one
}

// note keeps what changed, for those who ask.
func (i *identities) note() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known == nil {
		i.known = map[string]mesh.Identity{}
	}
	for _, account := range i.gone {
		delete(i.known, account)
	}
	for _, id := range i.changed {
		if i.known[id.Account] = id; !id.Wanted {
			delete(i.known, id.Account)
		}
	}
}

// publishIdentities keeps what is wanted and known of each ServiceAccount that has pods in the mesh, or
// proxies of a Gateway.
func (c *Core) publishIdentities() {
	incr.Keep(mesh.Memo(c.mesh, "identity", c.mesh.Identity), func(account string, id mesh.Identity, has bool) {
		if has {
			c.identities.changed = append(c.identities.changed, id)
		} else {
			c.identities.gone = append(c.identities.gone, account)
		}
	}, c.mesh.PodAccounts, c.mesh.GatewayAccounts)
	one := incr.NewSet[string](c.tables.Graph)
	incr.Keep(mesh.Memo(c.mesh, "serial", func(q *incr.Query, _ string) uint64 { return c.mesh.Trust(q).Serial }),
		func(_ string, serial uint64, _ bool) { c.identities.serial = serial }, one)
	one.Add("")
}

func (c *Core) tellIdentities() {
	c.identities.note()
	c.identities.told.Store(c.identities.serial) // who reads this finds what is known with it
	for _, id := range c.identities.changed {
		c.Identities.Put(id.Account, id)
		c.Signed.Put(id.Account, id)
	}
	for _, account := range c.identities.gone {
		c.Identities.Forget(account, mesh.Identity{Account: account})
		c.Signed.Forget(account, mesh.Identity{Account: account})
	}
	c.identities.changed, c.identities.gone = nil, nil
}

// TrustTold is the Serial of the state of the roots that the proxies were told of last.
func (c *Core) TrustTold() uint64 { return c.identities.told.Load() }

// KnownIdentities is what is known of every identity, at the state that TrustTold told before or a later one.
func (c *Core) KnownIdentities() []mesh.Identity {
	c.identities.mu.Lock()
	defer c.identities.mu.Unlock()
	return slices.Collect(maps.Values(c.identities.known))
}

// Proxies are the connected proxies ("namespace/pod"), and whether each has acknowledged its certificate
// and its roots as they are now.
func (c *Core) Proxies() map[string]bool {
	return c.facts.Settled(c.store, xds.Name{Type: xds.SecretType, Name: mesh.RootsSecret}, xds.Name{Type: xds.SecretType, Name: mesh.IdentitySecret})
}
