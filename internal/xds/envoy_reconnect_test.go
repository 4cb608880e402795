package xds

import (
	"strings"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/porttest"
)

// connected waits until the proxy of that pod has a stream whose listeners are applied.
func (p *proxied) connected(pod string) {
	p.t.Helper()
	p.Until("the proxy is "+pod+" and up to date", func() bool {
		all := p.facts.All()
		return len(all) == 1 && all[0].Pod == pod && all[0].Acknowledged > 0
	})
}

// told are the names that the server sent or removed since the last time.
func (p *proxied) told() string {
	var names []string
	for _, line := range sent(p.talk.take()) {
		names = append(names, strings.Fields(line)[2:]...)
	}
	return strings.Join(names, " ")
}

func TestEnvoyIsResentNothing(t *testing.T) {
	p := proxyWith(t, edsCluster("a", time.Second), assignment("a", backend(t, "one")), forwarding("r/a", "a.test", "a"))
	p.says("a.test", "200 one")
	p.settled()
	p.told()
	p.stop()

	// The server starts anew, and makes the same world from the same objects.
	same := NewStore(nil)
	same.Commit(Change{}) // its revisions are others
	same.Commit(again(p.store))
	p.start(same)
	p.connected("web-0")
	if got := p.told(); got != "" {
		t.Errorf("a server that started anew sent %s", got)
	}
	p.says("a.test", "200 one")

	// And once more, with a changed world: one virtual host is other, one is gone.
	p.stop()
	resources(same, answering("r/x", "x.test", "x 2"))
	commit(same, drop(VirtualHostType, "r/y"))
	p.start(same)
	p.says("x.test", "200 x 2")
	p.says("y.test", "404")
	p.connected("web-0")
	if got := p.told(); got != "+r/x -r/y" {
		t.Errorf("sent %s, want r/x changed and r/y gone", got)
	}
}

// again is a change that makes another Store see what this one sees.
func again(s *Store) Change {
	c := Change{Resources: map[Resource]*discovery.Resource{}, Scopes: map[string]map[Name]*Variant{"web": {}}}
	for at, cell := range s.cells {
		var r discovery.DeltaDiscoveryResponse
		if err := proto.Unmarshal(cell.now.frame, &r); err != nil {
			panic(err)
		}
		m, err := r.Resources[0].Resource.UnmarshalNew()
		if err != nil {
			panic(err)
		}
		c.Resources[at], c.Scopes["web"][at.Name] = Marshal(at.Name.Name, m), &at.Variant
	}
	return c
}

// A changed cluster that meets a proxy on its new stream is warmed too.
func TestEnvoyWarmsOnReconnect(t *testing.T) {
	p := proxyWith(t, edsCluster("a", time.Second), assignment("a", backend(t, "one")), forwarding("r/a", "a.test", "a"))
	p.says("a.test", "200 one")
	p.stop()
	resources(p.store, edsCluster("a", 2*time.Second))
	p.start(p.store)
	p.Until("the cluster is warm", func() bool {
		return p.Counter("cluster_manager.cluster_modified") == 1 && p.Counter("cluster_manager.warming_clusters") == 0
	})
	p.says("a.test", "200 one")
}

// A stream ends with its token. Envoy comes back with the new one and is resent nothing.
func TestEnvoyTokenExpires(t *testing.T) {
	brief := pod("brief", "web")
	p := &proxied{port: int(porttest.Free(t, 1)[0])}
	p.harness = listen(t, NewStore(nil), func(o *Options) {
		known := o.Authenticator.(tokens)
		brief.Expires = time.Now().Add(3 * time.Second)
		known["brief"] = brief
	})
	p.commit(gateway("in", p.port, "r"), discovered("r"), answering("r/x", "x.test", "x 1"))
	f := p.folder("brief")
	p.Envoy = envoytest.Start(t, p.bootstrap(f))
	p.says("x.test", "200 x 1")
	p.connected("brief")
	p.told()
	p.file(f.token, "web-0")
	p.connected("web-0")
	if time.Now().Before(brief.Expires) {
		t.Error("the stream ended before its token")
	}
	if got := p.told(); got != "" {
		t.Errorf("on the new stream it was sent %s", got)
	}
	p.commit(answering("r/x", "x.test", "x 2"))
	p.says("x.test", "200 x 2")
}

// An Envoy with a token that is not accepted is told nothing.
func TestEnvoyWithoutIdentity(t *testing.T) {
	h := listen(t, NewStore(nil))
	resources(h.store, answering("r/x", "x.test", "x"))
	e := envoytest.Start(t, h.bootstrap(h.folder("forged")))
	e.Until("it was refused", func() bool { return strings.Contains(e.Log(), "does not accept the token") })
	if lines := h.talk.take(); len(sent(lines)) != 0 || len(h.facts.All()) != 0 {
		t.Errorf("it was answered: %v", lines)
	}
}
