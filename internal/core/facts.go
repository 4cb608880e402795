package core

import (
	"sync"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// fact is what a proxy answered for one resource.
type fact struct {
	name    xds.Name
	version string
	refusal *refusal // nil: acknowledged
}

// facts wait here in the order in which proxies stated them.
type facts struct {
	mu    sync.Mutex
	queue []fact
	ready chan struct{}
}

func newFacts() *facts { return &facts{ready: make(chan struct{}, 1)} }

func (f *facts) add(x fact) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, x)
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

func (f *facts) take() []fact {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.queue
	f.queue = nil
	return out
}

// Acknowledged tells that a proxy accepted a version of a resource.
func (c *Core) Acknowledged(name xds.Name, version string) {
	if name.Type == typeURL(mesh.KindVirtualHost) {
		c.facts.add(fact{name: name, version: version})
	}
}

// Refused tells that a proxy ("namespace/pod") refused a version of a resource, in Envoy's words.
func (c *Core) Refused(proxy string, name xds.Name, version, detail string) {
	c.facts.add(fact{name, version, &refusal{proxy, detail}})
}

// learn turns a fact into inputs, inside a commit.
func (c *Core) learn(f fact) {
	if f.name.Type != typeURL(mesh.KindVirtualHost) {
		return
	}
	if f.refusal == nil {
		c.quarantine.acknowledged(f.name.Name, f.version)
	} else {
		c.quarantine.refused(f.name.Name, f.version, *f.refusal)
	}
}

func (c *Core) hold(route string, generation int64, why refusal) {
	c.tables.Quarantines.Set(route, cluster.Quarantine{Generation: generation, Proxy: why.proxy, Detail: why.detail})
}

func (c *Core) release(route string) { c.tables.Quarantines.Delete(route) }
