// Package timeout is the section timeout: how long requests and their parts may take.
package timeout

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section is about requests, but for connect, which is about what is sent to Services.
var Section = room.Section[v1alpha1.Timeout]{
	Name:    "timeout",
	Of:      func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.Timeout { return spec.Timeout },
	On:      []room.Kind{room.Mesh, room.Namespace, room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Holds:   room.Innermost[v1alpha1.Timeout],
	Traffic: room.Traffic[v1alpha1.Timeout]{Upstream: connections, Request: requests, Problem: problem, Fits: fits, OnlyRequests: onlyRequests},
}

// fits is that connections that carry no requests have nothing but connect.
func fits(s *v1alpha1.Timeout, protocol string) bool {
	return protocol == "http1" || protocol == "http2" || s.Connect != nil
}

func onlyRequests(s *v1alpha1.Timeout) string {
	switch {
	case s.Request != nil:
		return ".request"
	case s.Idle != nil:
		return ".idle"
	case s.Stream != nil:
		return ".stream"
	}
	return ""
}

// problem is that connect names no destination.
func problem(s *v1alpha1.Timeout, on room.Kind, _ bool) string {
	if s.Connect != nil && (on == room.Gateway || on == room.HTTPRoute || on == room.GRPCRoute) {
		return ".connect is about connections to the pods of a Service: put it into a policy whose target is the Service"
	}
	return ""
}

func connections(s *v1alpha1.Timeout, c *clusterv3.Cluster) {
	if d := room.Length(s.Connect); d > 0 {
		c.ConnectTimeout = durationpb.New(d)
	}
}

func requests(s *v1alpha1.Timeout, r *routev3.Route) {
	action := r.GetRoute()
	if action == nil {
		return
	}
	if d, ok := bound(s.Request); ok {
		action.Timeout = durationpb.New(d)
	}
	if d, ok := bound(s.Idle); ok {
		action.IdleTimeout = durationpb.New(d)
	}
	if d, ok := bound(s.Stream); ok {
		action.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{MaxStreamDuration: durationpb.New(d)}
	}
}

// bound is a duration, if it is written.
func bound(d *gwv1.Duration) (time.Duration, bool) {
	if d == nil {
		return 0, false
	}
	parsed, err := time.ParseDuration(string(*d))
	return max(parsed, 0), err == nil
}
