package xds

import (
	"strings"
	"testing"
	"time"
)

func TestEnvoy(t *testing.T) {
	s := NewStore()
	h := listen(t, s)
	port, one := freePort(t), backend(t, "one")
	resources(s, edsCluster("a", time.Second), assignment("a", one), gateway("in", port, "r"), discovered("r"),
		answering("r/x", "x.test", "x 1"), answering("r/y", "y.test", "y 1"), forwarding("r/a", "a.test", "a"))
	e := h.envoy()
	says := func(host, want string) {
		t.Helper()
		got := ""
		e.Until(host+" answers "+want+", got last "+got, func() bool { got = e.Get(port, host, "/"); return got == want })
	}
	says("x.test", "200 x 1")
	says("a.test", "200 one")
	t.Log(strings.Join(h.talk.take(), "\n"))

	resources(s, answering("r/x", "x.test", "x 2"))
	says("x.test", "200 x 2")
	t.Log(strings.Join(h.talk.take(), "\n"))

	resources(s, edsCluster("a", 2*time.Second))
	e.Until("the cluster is warm", func() bool {
		return e.Counter("cluster_manager.cluster_modified") == 1 && e.Counter("cluster_manager.warming_clusters") == 0
	})
	t.Log(strings.Join(h.talk.take(), "\n"))

	resources(s, edsCluster("b", time.Second), assignment("b", backend(t, "two")), forwarding("r/b", "b.test", "b"))
	says("b.test", "200 two")
	t.Log(strings.Join(h.talk.take(), "\n"))

	resources(s, gateway("in2", freePort(t), "r2"), discovered("r2"), answering("r2/x", "x.test", "r2"))
	e.Until("r2", func() bool {
		return e.Counter("listener_manager.listener_create_success") == 2 && e.Counter("listener_manager.total_listeners_warming") == 0
	})
	t.Log(strings.Join(h.talk.take(), "\n"))
}
