// Package hedging is the section hedging: when a request that is not answered is sent to a second pod too.
package hedging

import (
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/retry"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section is about requests. It comes after retry, as to Envoy a hedge is a retry whose timeout for one
// attempt has passed, and that leaves this attempt alone.
var Section = room.Section[v1alpha1.Hedging]{
	Name:  "hedging",
	Of:    func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.Hedging { return spec.Hedging },
	On:    []room.Kind{room.Mesh, room.Namespace, room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Holds: room.Innermost[v1alpha1.Hedging],
	Traffic: room.Traffic[v1alpha1.Hedging]{
		Request:    requests,
		OwnRetries: func(s *v1alpha1.Hedging) bool { return delay(s) > 0 },
	},
}

func requests(s *v1alpha1.Hedging, r *routev3.Route) {
	action := r.GetRoute()
	if action == nil || delay(s) == 0 {
		return
	}
	if action.RetryPolicy == nil {
		action.RetryPolicy = retry.Unsent()
		action.RetryPolicy.NumRetries = nil
	}
	p := action.RetryPolicy
	p.NumRetries = wrapperspb.UInt32(max(p.GetNumRetries().GetValue(), most(s)))
	p.PerTryTimeout = durationpb.New(delay(s))
	action.HedgePolicy = &routev3.HedgePolicy{HedgeOnPerTryTimeout: true}
}

func most(s *v1alpha1.Hedging) uint32 {
	if s.Requests == nil {
		return 1
	}
	return uint32(max(*s.Requests, 1))
}

func delay(s *v1alpha1.Hedging) time.Duration { return room.Length(&s.Delay) }
