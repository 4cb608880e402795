package envoy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/xds"
)

func near() room.Decided {
	return room.Decided{Section: "locality", Policy: "shop/near", Says: &v1alpha1.Locality{}}
}

// heed has the balancer's Cluster be as sections say, in the order of all of them, once the proxy has it.
func (b *balancer) heed(sections ...room.Decided) {
	b.t.Helper()
	b.become(mesh.Cluster{Name: balancedCluster, Protocol: b.protocol, Policies: sections})
}

// become has the balancer's Cluster be another one, once the proxy has it.
func (b *balancer) become(as mesh.Cluster) {
	b.t.Helper()
	c := envoy.Cluster(as)
	commit(b.store, map[string]proto.Message{balancedCluster: c})
	eventually(b.t, "the proxy has the cluster", func() bool {
		return strings.Contains(b.ask("/config_dump?resource=dynamic_active_clusters"), `"version_info": "`+xds.Marshal(balancedCluster, c).Version+`"`)
	})
}

// arrange has the Cluster lead to localities, once the proxy knows as many endpoints of each priority.
func (b *balancer) arrange(all ...mesh.Locality) {
	b.t.Helper()
	commit(b.store, map[string]proto.Message{balancedCluster: envoy.Endpoints(mesh.Endpoints{Cluster: balancedCluster, Localities: all})})
	var want []string
	for _, l := range all {
		for _, e := range l.Addresses {
			want = append(want, fmt.Sprintf("%s::127.0.0.1:%d::priority::%d", balancedCluster, e.Port, l.Priority))
		}
	}
	slices.Sort(want)
	eventually(b.t, "the proxy knows what is where", func() bool {
		var known []string
		for line := range strings.Lines(b.ask("/clusters")) {
			if strings.HasPrefix(line, balancedCluster+"::") && strings.Contains(line, "::priority::") {
				known = append(known, strings.TrimSpace(line))
			}
		}
		slices.Sort(known)
		return slices.Equal(known, want)
	})
}

// zones are two localities, of which the second gets what the first fails to answer.
func zones(a, b []mesh.Endpoint) []mesh.Locality {
	return []mesh.Locality{
		{Region: "eu", Zone: "a", Weight: 10_000, Addresses: a},
		{Region: "eu", Zone: "b", Priority: 1, Weight: 10_000, Addresses: b},
	}
}

// TestLocality: callers in zone a are answered there. When its backends go the other zone answers, and when they
// are back it is theirs again; no request fails.
func TestLocality(t *testing.T) {
	t.Parallel()
	all := numbered(t, 4, nil)
	b := startBalancer(t, mesh.HTTP1, "{}", all...)
	failed, _, stop := load(t, b.url, 2)
	b.heed(near()) // before the endpoints say what is where
	if got := b.shares(200); len(got) != 4 {
		t.Errorf("nobody says what is where: %v", got)
	}
	b.arrange(zones(all[:2], all[2:])...)
	if got := b.shares(200); got["0"]+got["1"] != 200 || got["0"] < 50 || got["1"] < 50 {
		t.Errorf("zone a is well: %v", got)
	}
	b.arrange(mesh.Locality{Region: "eu", Zone: "b", Weight: 10_000, Addresses: all[2:]})
	if got := b.shares(200); got["2"]+got["3"] != 200 {
		t.Errorf("zone a is away: %v", got)
	}
	half := zones(all[:1], all[2:])
	half[0].Weight, half[1].Weight, half[1].Priority = 7000, 3000, 0
	b.arrange(half...)
	if got := b.shares(400); got["0"] < 200 || got["0"] > 360 || got["1"] > 0 {
		t.Errorf("half of zone a is back: %v; 280 of 400 are its part", got)
	}
	b.arrange(zones(all[:2], all[2:])...)
	if got := b.shares(200); got["0"]+got["1"] != 200 {
		t.Errorf("zone a is back: %v", got)
	}
	stop()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d requests failed", n)
	}
}

// TestLocalityOfSessions: where sessions reach over several Services, each of them has its weight in its own nearest
// zone. What is further away, and what is for sessions alone, gets nothing, and is missed by nobody.
func TestLocalityOfSessions(t *testing.T) {
	t.Parallel()
	all := numbered(t, 6, nil)
	b := startBalancer(t, mesh.HTTP1, "{}", all...)
	b.become(mesh.Cluster{Name: balancedCluster, Protocol: mesh.HTTP1, Sessions: true, Policies: []room.Decided{near()}})
	for i, weight := range []uint32{90, 10, 90, 1, 1, 1} {
		all[i].Weight, all[i].Idle = weight, weight == 1
	}
	b.arrange(
		mesh.Locality{Zone: "a", Weight: 90, Addresses: all[:1]}, mesh.Locality{Zone: "b", Weight: 10, Addresses: all[1:2]},
		mesh.Locality{Zone: "b", Priority: 1, Weight: 90, Addresses: all[2:3]}, mesh.Locality{Zone: "a", Priority: 2, Weight: 3, Addresses: all[3:]},
	)
	if got := b.shares(400); got["0"]+got["1"] != 400 || got["1"] < 20 || got["1"] > 60 {
		t.Errorf("a Service with pods in zone a has 90 of 100, one without 10: %v", got)
	}
	b.arrange(mesh.Locality{Zone: "b", Weight: 90, Addresses: all[2:3]}, mesh.Locality{Zone: "a", Priority: 1, Weight: 3, Addresses: all[3:]})
	if got := b.shares(100); got["2"] != 100 {
		t.Errorf("one is there that begins sessions: %v", got)
	}
}

// TestLocalityOfOutliers: the backends of zone a fail, all of them, and the proxy finds so itself: it sends to zone b,
// and to zone a again when these are well.
func TestLocalityOfOutliers(t *testing.T) {
	t.Parallel()
	backends, at := moods(t, 4)
	b := startBalancer(t, mesh.HTTP1, "{}", at...)
	b.heed(near(), outliers(v1alpha1.OutlierDetection{
		Consecutive5xx: new(int32(3)), Interval: period("200ms"), BaseEjectionTime: period("2s"), MaxEjectionPercent: new(int32(50)),
	})[0])
	b.arrange(zones(at[:2], at[2:])...)
	_, _, stop := load(t, b.url, 2)
	asked := func(of []*moody) (n int32) {
		for _, m := range of {
			n += m.asked.Load()
		}
		return n
	}
	eventually(t, "zone a is asked", func() bool { return asked(backends[:2]) > 20 })
	if n := asked(backends[2:]); n > 0 {
		t.Errorf("zone a is well; %d requests went to zone b", n)
	}
	for _, m := range backends[:2] {
		m.status.Store(http.StatusServiceUnavailable)
	}
	eventually(t, "zone b is asked", func() bool { return asked(backends[2:]) > 20 })
	for _, m := range backends[:2] {
		m.status.Store(0)
	}
	eventually(t, "zone a alone is asked again", func() bool {
		a, others := asked(backends[:2]), asked(backends[2:])
		eventually(t, "some are sent", func() bool { return asked(backends) > a+others+20 })
		return asked(backends[2:]) == others
	})
	stop()
}

// TestLocalityUnsent: the only backend of zone a is gone, and nothing tells so yet: what cannot be sent to it goes to
// zone b, and no request fails.
func TestLocalityUnsent(t *testing.T) {
	t.Parallel()
	gone := mesh.Endpoint{Address: "127.0.0.1", Port: porttest.Free(t, 1)[0]}
	there := numbered(t, 1, nil)
	b := startBalancer(t, mesh.HTTP1, "{}", there...)
	b.heed(near())
	b.arrange(zones([]mesh.Endpoint{gone}, there)...)
	if got := b.shares(100); got["0"] != 100 {
		t.Errorf("zone a is gone: %v", got)
	}
}

// TestLocalityWeights: whatever the balancing, localities get their weights.
func TestLocalityWeights(t *testing.T) {
	t.Parallel()
	all := numbered(t, 4, nil)
	b := startBalancer(t, mesh.HTTP1, "{}", all...)
	b.arrange(mesh.Locality{Zone: "a", Weight: 8000, Addresses: all[:1]}, mesh.Locality{Zone: "b", Weight: 2000, Addresses: all[1:]})
	for _, section := range []string{
		"{}", "{algorithm: RoundRobin}", "{algorithm: Random}", "{algorithm: ClientSideWeighted}", "{algorithm: LeastRequest, slowStart: {window: 1s}}",
		"{algorithm: RingHash, hash: [{type: Header, name: x-user}]}", "{algorithm: Maglev, hash: [{type: Header, name: x-user}]}",
	} {
		b.heed(balancing(t, section)[0], near())
		got := map[string]int{}
		for i := range 400 {
			got[b.by("/", "X-User", fmt.Sprint("user-", i))]++
		}
		if got["0"] < 260 || got["0"] > 380 || len(got) != 4 {
			t.Errorf("%s: %v; 320 of 400 are the part of 0", section, got)
		}
	}
}

// TestLocalityOfBytes: connections go to the next zone too.
func TestLocalityOfBytes(t *testing.T) {
	t.Parallel()
	here, there := namer(t, "here"), namer(t, "there")
	b := startBalancer(t, mesh.TCP, "{}", here, there)
	b.heed(near())
	by := func() string {
		c, _, name := greeted(t, b.tcp)
		c.Close()
		return name
	}
	b.arrange(zones([]mesh.Endpoint{here}, []mesh.Endpoint{there})...)
	for range 20 {
		if got := by(); got != "here" {
			t.Fatalf("zone a is well; a connection went to %q", got)
		}
	}
	b.arrange(mesh.Locality{Zone: "b", Weight: 1, Addresses: []mesh.Endpoint{there}})
	if got := by(); got != "there" {
		t.Errorf("zone a is away; a connection went to %q", got)
	}
}
