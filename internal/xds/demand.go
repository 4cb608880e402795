package xds

import (
	"sync"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// demands are the names of clusters that proxies asked for on demand, and how many of them.
type demands struct {
	changed func(name string, wanted bool)

	mu  sync.Mutex
	num map[string]int
}

// note counts what one request asks for and gives up.
func (d *demands) note(k kind, req *discovery.DeltaDiscoveryRequest) {
	if d == nil || k != clusters {
		return
	}
	for _, name := range req.ResourceNamesSubscribe {
		d.add(name, 1)
	}
	for _, name := range req.ResourceNamesUnsubscribe {
		d.add(name, -1)
	}
}

// release gives up all that a stream still subscribes to when it ends.
func (d *demands) release(sub *subscription) {
	if d == nil || sub == nil {
		return
	}
	for name := range sub.names {
		d.add(name, -1)
	}
}

func (d *demands) add(name string, n int) {
	if !onDemand(clusters, name) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.num[name]
	now := max(before+n, 0)
	if d.num[name] = now; now == 0 {
		delete(d.num, name)
	}
	if (before > 0) != (now > 0) {
		d.changed(name, now > 0)
	}
}
