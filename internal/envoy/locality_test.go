package envoy_test

import (
	"bufio"
	"net"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/xds"
)

func near() room.Decided {
	return room.Decided{Section: "locality", Policy: "shop/near", Says: &v1alpha1.Locality{}}
}

// heed has the balancer's Cluster heed localities besides what other sections say, once the proxy does.
func (b *balancer) heed(others ...room.Decided) {
	b.t.Helper()
	c := envoy.Cluster(mesh.Cluster{Name: balancedCluster, Protocol: b.protocol, Policies: append(slices.Clone(others), near())})
	if len(others) > 0 && others[0].Section == "outlierDetection" {
		c = envoy.Cluster(mesh.Cluster{Name: balancedCluster, Protocol: b.protocol, Policies: append([]room.Decided{near()}, others...)})
	}
	commit(b.store, map[string]proto.Message{balancedCluster: c})
	eventually(b.t, "the proxy heeds localities", func() bool {
		return strings.Contains(b.ask("/config_dump?resource=dynamic_active_clusters"), `"version_info": "`+xds.Marshal(balancedCluster, c).Version+`"`)
	})
}

// arrange has the Cluster lead to localities, and waits until the proxy knows as many of each priority.
func (b *balancer) arrange(all ...mesh.Locality) {
	b.t.Helper()
	commit(b.store, map[string]proto.Message{balancedCluster: envoy.Endpoints(mesh.Endpoints{Cluster: balancedCluster, Localities: all})})
	want := map[string]int{}
	for _, l := range all {
		for range l.Addresses {
			want[zoned(l.Zone, l.Priority)]++
		}
	}
	eventually(b.t, "the proxy knows what is where", func() bool {
		text := b.ask("/clusters?format=json")
		known := 0
		for at, n := range want {
			if strings.Count(text, at) == n {
				known++
			}
		}
		return known == len(want)
	})
}
