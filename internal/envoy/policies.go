package envoy

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// shapeCluster has the sections of policies say their part of a Cluster.
func shapeCluster(c *clusterv3.Cluster, policies []room.Decided) {
	for _, d := range policies {
		if r, ok := policy.ByName(d.Section); ok && !d.Ended {
			r.Upstream(d, c)
		}
	}
}

// shapeRoute has the sections of policies say their part of a Route.
func shapeRoute(r *routev3.Route, policies []room.Decided) {
	for _, d := range policies {
		if section, ok := policy.ByName(d.Section); ok && !d.Ended {
			section.Request(d, r)
		}
	}
}

// ownWord is what a rule says itself of what policies may say too: it holds in their place.
func ownWord(r *routev3.Route, rule *mesh.Rule) {
	action, t := r.GetRoute(), rule.Timeouts
	if action == nil {
		return
	}
	if t != nil && t.Request != nil {
		action.Timeout = timeout(t)
	}
	switch {
	case rule.Retry != nil || action.RetryPolicy == nil:
		action.RetryPolicy = retryPolicy(rule.Retry, t)
	case t != nil && duration(t.BackendRequest) > 0:
		action.RetryPolicy.PerTryTimeout = durationpb.New(duration(t.BackendRequest))
	}
}
