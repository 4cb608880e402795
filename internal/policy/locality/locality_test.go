package locality

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	weightedv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3"
	maglevv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/maglev/v3"
	ringhashv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
	"github.com/weft-mesh/weft/internal/wire"
)

// at is a place: "r1/a/n1" is Node n1 of zone a of region r1; what is left out is not known.
func at(text string) room.Locality {
	parts := append(strings.Split(text, "/"), "", "")
	return room.LocalityOf(map[string]string{"topology.kubernetes.io/region": parts[0], "topology.kubernetes.io/zone": parts[1], "kubernetes.io/hostname": parts[2]},
		[]string{"topology.kubernetes.io/region", "topology.kubernetes.io/zone", "kubernetes.io/hostname"})
}

// shares arranges groups, each "place ready/all", and tells "place priority:weight" of each.
func shares(t *testing.T, section, from, groups string) string {
	t.Helper()
	s := roomtest.Written[v1alpha1.Locality](t, section)
	var places []string
	var all []room.Group
	for one := range strings.SplitSeq(groups, ", ") {
		var place string
		g := room.Group{}
		if _, err := fmt.Sscanf(strings.Replace(one, " ", " of ", 1), "%s of %d/%d", &place, &g.Ready, &g.All); err != nil {
			t.Fatalf("%s: %v", one, err)
		}
		g.At = at(place)
		places, all = append(places, place), append(all, g)
	}
	var out []string
	for i, share := range arrange(s, at(from), all) {
		if all[i].Ready > 0 && share.Weight == 0 {
			t.Errorf("%s: of %s %s has no weight", section, groups, places[i])
		}
		if all[i].Ready > 0 {
			out = append(out, fmt.Sprintf("%s %d:%d", places[i], share.Priority, share.Weight))
		}
	}
	return strings.Join(out, ", ")
}

// TestArrange: who gets how much of what callers at a place send.
func TestArrange(t *testing.T) {
	const regions = "{weights: [{from: r1, to: [{region: r1, percent: 80}, {region: r2, percent: 20}]}]}"
	for _, c := range []struct{ what, section, from, groups, want string }{
		{"the nearest first", "{}", "r1/a", "r1/a 2/2, r1/b 2/2, r2/c 2/2", "r1/a 0:10000, r1/b 1:10000, r2/c 2:10000"},
		{"as many zones as there are, by their endpoints", "{}", "r1/a", "r1/b 3/3, r1/d 1/1, r2/c 2/2", "r1/b 0:7500, r1/d 0:2500, r2/c 1:10000"},
		{"nobody knows where the caller is", "{}", "", "r1/a 1/1, r1/b 3/3", "r1/a 0:2500, r1/b 0:7500"},
		{"nobody knows where the endpoints are", "{}", "r1/a", "/ 4/4", "/ 0:10000"},
		{"one zone", "{}", "r1/a", "r1/a 4/4", "r1/a 0:10000"},
		{"a zone that is somewhat short", "{}", "r1/a", "r1/a 5/7, r1/b 2/2", "r1/a 0:10000, r1/b 1:10000"},
		{"a zone that is half there", "{}", "r1/a", "r1/a 2/4, r1/b 2/2", "r1/a 0:7000, r1/b 0:3000"},
		{"a zone that comes back", "{}", "r1/a", "r1/a 1/4, r1/b 2/2", "r1/a 0:3500, r1/b 0:6500"},
		{"a zone that is away", "{}", "r1/a", "r1/a 0/4, r1/b 2/2, r2/c 2/2", "r1/b 0:10000, r2/c 1:10000"},
		{"two that are short", "{}", "r1/a", "r1/a 1/4, r1/b 1/4, r2/c 2/2", "r1/a 0:3500, r1/b 0:3500, r2/c 0:3000"},
		{"all that are short keep their ratio", "{}", "r1/a", "r1/a 1/4, r1/b 1/4", "r1/a 0:5000, r1/b 0:5000"},
		{"one of very many", "{}", "r1/a", "r1/a 1/900, r1/b 2/2", "r1/a 0:100, r1/b 0:9900"},
		{"too few", "{minEndpoints: 2}", "r1/a", "r1/a 1/1, r1/b 3/3, r2/c 2/2", "r1/a 0:2500, r1/b 0:7500, r2/c 1:10000"},
		{"too few, of which more are missing", "{minEndpoints: 2}", "r1/a", "r1/a 1/8, r1/b 3/3, r2/c 2/2", "r1/a 0:2500, r1/b 0:7500, r2/c 1:10000"},
		{"enough", "{minEndpoints: 2}", "r1/a", "r1/a 2/2, r1/b 3/3", "r1/a 0:10000, r1/b 1:10000"},
		{"too few everywhere", "{minEndpoints: 9}", "r1/a", "r1/a 1/1, r1/b 1/1, r2/c 2/2", "r1/a 0:2500, r1/b 0:2500, r2/c 0:5000"},
		{"too few at last", "{minEndpoints: 2}", "r1/a", "r1/a 2/2, r1/b 1/1", "r1/a 0:10000, r1/b 1:10000"},
		{"any label", "{prefer: [kubernetes.io/hostname, topology.kubernetes.io/zone]}", "r1/a/n1", "r1/a/n1 1/1, r1/a/n2 2/2, r1/b/n3 1/1", "r1/a/n1 0:10000, r1/a/n2 1:10000, r1/b/n3 2:10000"},
		{"regions only", "{prefer: [topology.kubernetes.io/region]}", "r1/a", "r1/a 1/1, r1/b 1/1, r2/c 1/1", "r1/a 0:5000, r1/b 0:5000, r2/c 1:10000"},
		{"weights", regions, "r1/a", "r1/a 1/1, r1/b 3/3, r2/c 9/9", "r1/a 0:2000, r1/b 0:6000, r2/c 0:2000"},
		{"weights, and regions without any", regions, "r1/a", "r1/a 1/1, r2/c 9/9, r3/d 1/1", "r1/a 0:8000, r2/c 0:2000, r3/d 1:10000"},
		{"weights of a region that is half there", regions, "r1/a", "r1/a 1/2, r2/c 1/1", "r1/a 0:7300, r2/c 0:2600"},
		{"weights of a region that is away", regions, "r1/a", "r1/a 0/2, r2/c 1/1, r3/d 1/1", "r2/c 0:10000, r3/d 1:10000"},
		{"weights, and none of the regions is there", regions, "r1/a", "r1/a 0/2, r3/d 1/1", "r3/d 0:10000"},
		{"weights of others", regions, "r2/c", "r1/a 1/1, r2/c 1/1", "r1/a 1:10000, r2/c 0:10000"},
	} {
		if got := shares(t, c.section, c.from, c.groups); got != c.want {
			t.Errorf("%s: of %s come to %s: %s\nwant %s", c.what, c.groups, c.from, got, c.want)
		}
	}
}

// TestPrioritiesHaveNoGap: whatever there is, the priorities of what is ready are 0, 1, 2 and so on, as Envoy wants
// them, and what the API server would refuse gives nothing that Envoy refuses.
func TestPrioritiesHaveNoGap(t *testing.T) {
	for _, section := range []string{"{}", "{minEndpoints: 2}", "{minEndpoints: -3}", "{prefer: [kubernetes.io/hostname]}",
		"{weights: [{from: r1, to: [{region: r1, percent: 0}, {region: r2, percent: -5}]}]}", "{weights: [{from: r1, to: [{region: r2, percent: 1000000}]}]}"} {
		for n := range 3 * 3 * 3 * 3 {
			groups := fmt.Sprintf("r1/a/n1 %d/2, r1/b/n2 %d/2, r2/c/n3 %d/500, / %d/2", n%3, n/3%3, n/9%3, n/27%3)
			var used []string
			for one := range strings.SplitSeq(shares(t, section, "r1/a/n1", groups), ", ") {
				if _, share, is := strings.Cut(one, " "); is {
					priority, _, _ := strings.Cut(share, ":")
					used = append(used, priority)
				}
			}
			slices.Sort(used)
			for i, p := range slices.Compact(used) {
				if p != fmt.Sprint(i) {
					t.Errorf("%s: of %s: priorities %v", section, groups, used)
				}
			}
		}
	}
}

// TestCluster: whatever a Cluster is balanced by heeds weights of localities, and all else of it stays.
func TestCluster(t *testing.T) {
	c := &clusterv3.Cluster{CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{HealthyPanicThreshold: &typev3.Percent{Value: 20}}}
	upstream(nil, c)
	if c.CommonLbConfig.HealthyPanicThreshold.GetValue() != 20 || c.CommonLbConfig.GetLocalityWeightedLbConfig() == nil {
		t.Errorf("%v", c)
	}
	for config, want := range map[proto.Message]string{
		&ringhashv3.RingHash{}: "locality_weighted_lb_config", &maglevv3.Maglev{}: "locality_weighted_lb_config",
		&weightedv3.ClientSideWeightedRoundRobin{}: "ClientSideWeightedRoundRobin",
	} {
		c := &clusterv3.Cluster{LbPolicy: clusterv3.Cluster_LOAD_BALANCING_POLICY_CONFIG, LoadBalancingPolicy: &clusterv3.LoadBalancingPolicy{Policies: []*clusterv3.LoadBalancingPolicy_Policy{{
			TypedExtensionConfig: wire.Extension("any", config),
		}}}}
		upstream(nil, c)
		message, err := c.LoadBalancingPolicy.Policies[0].TypedExtensionConfig.TypedConfig.UnmarshalNew()
		if err != nil || !strings.Contains(prototext.Format(message), want) || c.CommonLbConfig != nil {
			t.Errorf("%T: %v, %v", config, c, err)
		}
	}
}
