package envoy

import (
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	aggregatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/aggregate/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/retry"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

const authFilter = "envoy.filters.http.composite"

// authPlace is where a route's own check takes place; for other routes it is not there. The filter of
// ext_authz itself could not be: what it tells the server of is the same for all routes.
func authPlace() *hcmv3.HttpFilter {
	f := httpFilter(authFilter, &compositev3.Composite{})
	f.Disabled = true
	return f
}

// addAuth has the requests of a route checked. Envoy decides on the route before that, and not again.
func addAuth(r *routev3.Route, rule *mesh.Rule) {
	if rule.Auth == nil {
		return
	}
	a := *rule.Auth
	a.Limit = timeout(rule.Timeouts).AsDuration()
	chain := &compositev3.FilterChainConfiguration{TypedConfig: append(room.Without(a.Sole(), nil), a.Check(mesh.Asking(a.Cluster)))}
	perFilter(r, authFilter, &compositev3.CompositePerRoute{Matcher: &xdsmatcherv3.Matcher{
		OnNoMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
			Action: &xdscorev3.TypedExtensionConfig{Name: "check", TypedConfig: wire.Any(&compositev3.ExecuteFilterAction{FilterChain: chain})},
		}},
	}})
}

// AskingCluster is the cluster of that mesh.Asking name. Endpoints, connections and how these speak are the
// other cluster's; of its own it has the retries, the other's way of which Envoy does not look at.
func AskingCluster(name string) *clusterv3.Cluster {
	options := spokenTo(false, false)
	options.CommonHttpProtocolOptions = nil
	options.RetryPolicy = retry.Unsent()
	return &clusterv3.Cluster{
		Name: name,
		ClusterDiscoveryType: &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
			Name:        "envoy.clusters.aggregate",
			TypedConfig: wire.Any(&aggregatev3.ClusterConfig{Clusters: []string{strings.TrimPrefix(name, mesh.AskingPrefix)}}),
		}},
		LbPolicy:                      clusterv3.Cluster_CLUSTER_PROVIDED,
		ConnectTimeout:                durationpb.New(connectTimeout),
		CircuitBreakers:               breakers(nil),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{httpOptions: wire.Any(options)},
	}
}
