// Package circuitbreaker is the section circuitBreaker: how much one proxy has under way to a Service's port.
package circuitbreaker

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section is about what is sent to Services.
var Section = room.Section[v1alpha1.CircuitBreaker]{
	Name:    "circuitBreaker",
	Of:      func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.CircuitBreaker { return spec.CircuitBreaker },
	On:      []room.Kind{room.Mesh, room.Namespace, room.Service},
	Holds:   room.Innermost[v1alpha1.CircuitBreaker],
	Traffic: room.Traffic[v1alpha1.CircuitBreaker]{Upstream: bound, Bytes: true},
}

func bound(s *v1alpha1.CircuitBreaker, c *clusterv3.Cluster) {
	for _, t := range c.GetCircuitBreakers().GetThresholds() {
		set(&t.MaxConnections, s.MaxConnections)
		set(&t.MaxPendingRequests, s.MaxPendingRequests)
		set(&t.MaxRequests, s.MaxRequests)
		if s.MaxRetries != nil {
			set(&t.MaxRetries, s.MaxRetries)
			t.RetryBudget = nil // beside which Envoy does not look at MaxRetries
		}
	}
}

func set(to **wrapperspb.UInt32Value, says *int32) {
	if says != nil {
		*to = wrapperspb.UInt32(uint32(max(*says, 0)))
	}
}
