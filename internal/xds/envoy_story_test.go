package xds

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/porttest"
)

// proxied is a world with a server, a real Envoy and a listener with virtual hosts x and y.
type proxied struct {
	*harness
	*envoytest.Envoy
	port int
}

func proxyWith(t *testing.T, more ...proto.Message) *proxied {
	p := &proxied{harness: listen(t, NewStore(nil)), port: int(porttest.Free(t, 1)[0])}
	p.commit(append(more, gateway("in", p.port, "r"), discovered("r"), answering("r/x", "x.test", "x 1"), answering("r/y", "y.test", "y 1"))...)
	p.Envoy = p.envoy()
	p.says("x.test", "200 x 1")
	return p
}

func (p *proxied) commit(m ...proto.Message) uint64 { return resources(p.store, m...) }

func (p *proxied) says(host, want string) {
	p.t.Helper()
	p.Until(host+" answers "+want, func() bool { return p.Get(p.port, host, "/") == want })
}

// said expects what the server sent since the last time, once everything is acknowledged.
func (p *proxied) said(want ...string) {
	p.t.Helper()
	p.settled()
	if got := sent(p.talk.take()); !slices.Equal(got, want) {
		p.t.Errorf("the server sent\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// settled waits until the proxy has acknowledged the last revision.
func (p *proxied) settled() {
	p.t.Helper()
	n := Name{VirtualHostType, fmt.Sprintf("r/settled-%d", p.store.Revision())}
	rev := p.commit(answering(n.Name, n.Name[2:]+".test", "settled"))
	p.Until(fmt.Sprintf("revision %d is acknowledged", rev), func() bool {
		all := p.facts.All()
		return len(all) == 1 && all[0].Acknowledged >= rev
	})
	p.talk.drop("< VirtualHost +" + n.Name)
}

func TestEnvoyTakesEachChangeAlone(t *testing.T) {
	p := proxyWith(t, edsCluster("a", time.Second), assignment("a", backend(t, "one")), forwarding("r/a", "a.test", "a"))
	p.says("a.test", "200 one")
	p.said("< Cluster +a", "< ClusterLoadAssignment +a", "< Listener +in", "< RouteConfiguration +r", "< VirtualHost +r/a +r/x +r/y")

	p.commit(answering("r/x", "x.test", "x 2"))
	p.says("x.test", "200 x 2")
	p.said("< VirtualHost +r/x")

	p.commit(assignment("a", backend(t, "two")))
	p.says("a.test", "200 two")
	p.said("< ClusterLoadAssignment +a")

	// A changed cluster warms anew: it gets its endpoints without asking.
	p.commit(edsCluster("a", 2*time.Second))
	p.said("< Cluster +a", "< ClusterLoadAssignment +a")
	p.Until("the cluster is warm", func() bool {
		return p.Counter("cluster_manager.cluster_modified") == 1 && p.Counter("cluster_manager.warming_clusters") == 0
	})
	p.says("a.test", "200 two")

	// Envoy asks for virtual hosts once: those of a later listener come by themselves.
	other := int(porttest.Free(t, 1)[0])
	p.commit(gateway("other", other, "r2"), discovered("r2"), answering("r2/x", "x.test", "other"))
	p.Until("the other listener answers", func() bool { return p.Get(other, "x.test", "/") == "200 other" })
	p.said("< Listener +other", "< RouteConfiguration +r2", "< VirtualHost +r2/x")

	commit(p.store, drop(VirtualHostType, "r/y"))
	p.says("y.test", "404")
	p.said("< VirtualHost -r/y")
}

// A RouteConfiguration without virtual hosts does not keep its listener from starting.
func TestEnvoyDoesNotWaitForVirtualHosts(t *testing.T) {
	p := proxyWith(t)
	port := int(porttest.Free(t, 1)[0])
	p.talk.take()
	p.commit(gateway("bare", port, "bare"), discovered("bare"))
	p.Until("the listener answers", func() bool { return p.Get(port, "x.test", "/") == "404" })
	p.said("< Listener +bare", "< RouteConfiguration +bare", "< VirtualHost -bare/")
}

// One virtual host that Envoy refuses harms neither its siblings in the same response nor
// what comes later, and is not sent again until it changes.
func TestEnvoyRefusesOneOfSeveral(t *testing.T) {
	p := proxyWith(t)
	p.said("< Cluster", "< Listener +in", "< RouteConfiguration +r", "< VirtualHost +r/x +r/y")
	p.commit(answering("r/x", "x.test", "x 2"), tooLong("r/bad", "bad.test"), answering("r/z", "z.test", "z 1"))
	p.says("x.test", "200 x 2")
	p.says("z.test", "200 z 1")
	p.Until("the refusal is a fact", func() bool { return len(p.facts.All()[0].Refused) == 1 })
	got := p.facts.All()[0].Refused[0]
	if got.Name != (Name{VirtualHostType, "r/bad"}) || !strings.Contains(got.Detail, "program size") {
		t.Errorf("refused %+v, want r/bad for its program size", got)
	}
	d, ok := p.facts.Delivery(p.store, "web", got.Name)
	if !ok || d.Proxies != 1 || d.Acknowledged != 0 || len(d.Refused) != 1 || d.Version != got.Version {
		t.Errorf("delivery of r/bad is %+v", d)
	}
	p.settled()
	p.talk.take()
	p.commit(answering("r/y", "y.test", "y 2"))
	p.says("y.test", "200 y 2")
	p.said("< VirtualHost +r/y")
	p.commit(answering("r/bad", "bad.test", "good"))
	p.says("bad.test", "200 good")
	p.said("< VirtualHost +r/bad")
	if d, _ := p.facts.Delivery(p.store, "web", got.Name); d.Acknowledged != 1 || len(d.Refused) != 0 {
		t.Errorf("delivery of the mended r/bad is %+v", d)
	}
}

// Traffic that moves to a new cluster while the old one goes meets neither's absence.
func TestEnvoyLosesNoRequest(t *testing.T) {
	p := proxyWith(t, edsCluster("c0", time.Second), assignment("c0", backend(t, "ok")), forwarding("r/c", "c.test", "c0"))
	p.says("c.test", "200 ok")
	var bad, good atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if got := p.Get(p.port, "c.test", "/"); got == "200 ok" {
				good.Add(1)
			} else if bad.Add(1) == 1 {
				t.Errorf("got %q", got)
			}
		}
	}()
	for i := range 40 {
		was, now := fmt.Sprintf("c%d", i), fmt.Sprintf("c%d", i+1)
		c := web(edsCluster(now, time.Second), assignment(now, backend(t, "ok")), forwarding("r/c", "c.test", now))
		c.Resources[at(ClusterType, was)], c.Resources[at(EndpointType, was)] = nil, nil
		rev := p.store.Commit(c)
		p.Until("it is acknowledged", func() bool { return p.facts.All()[0].Acknowledged >= rev })
	}
	cancel()
	<-done
	if n := p.Counter("cluster_manager.cluster_removed"); n != 40 {
		t.Errorf("%d clusters were removed, want 40", n)
	}
	if bad.Load() > 0 || good.Load() == 0 {
		t.Errorf("%d requests failed, %d were answered", bad.Load(), good.Load())
	}
}
