// Package fault is the section fault: requests that are late, or fail, on purpose and for a time.
package fault

import (
	"cmp"
	"fmt"
	"time"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	commonfaultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/re2"
	"github.com/weft-mesh/weft/internal/wire"
)

// Section is about requests.
var Section = room.Section[v1alpha1.Fault]{
	Name:  "fault",
	Of:    func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.Fault { return spec.Fault },
	On:    []room.Kind{room.Mesh, room.Namespace, room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Holds: room.Innermost[v1alpha1.Fault],
	Traffic: room.Traffic[v1alpha1.Fault]{
		Referring: inject, Filter: room.Place(filter), Problem: problem,
		Until:   func(s *v1alpha1.Fault) time.Time { return s.Until.Time },
		Callers: func(s *v1alpha1.Fault) bool { return len(s.From) > 0 }, Claims: claims,
	},
}

const (
	// filter is where the faults of Routes are. The filter of faults itself could not be: it knows headers only, and
	// neither the caller nor whether a call is of gRPC.
	filter    = "weft.fault"
	faultName = "envoy.filters.http.fault"

	// defaultActive bounds the requests that a proxy holds in memory for their delays.
	defaultActive = 1000
)

func problem(s *v1alpha1.Fault, on room.Kind, _ bool) string {
	if len(s.From) > 0 && (on == room.Gateway || on == room.HTTPRoute || on == room.GRPCRoute) {
		return fmt.Sprintf(".from names callers, who are known where they call a Service, not at a %s: target the Service, or remove from", on)
	}
	for i, h := range s.Headers {
		if h.Type == nil || *h.Type != gwv1.HeaderMatchRegularExpression {
			continue
		}
		if err := re2.Check(h.Value); err != nil {
			return fmt.Sprintf(".headers[%d].value is no regular expression of RE2: %v", i, err)
		}
	}
	return ""
}

// inject has a Route make faults, if it sends requests on. Envoy would answer 200 to what is not of gRPC where a
// status of gRPC is asked for.
func inject(w room.Written[v1alpha1.Fault], _ []room.Referent, r *routev3.Route) {
	s := w.Says
	if r.GetRoute() == nil {
		return
	}
	of := &xdsmatcherv3.Matcher{OnNoMatch: do(s, abort(s.Abort, false))}
	if s.Abort != nil && s.Abort.GRPCStatus != nil {
		of = byKind(do(s, abort(s.Abort, true)), of.OnNoMatch)
	}
	if len(s.Claims) > 0 {
		of = only(room.HasClaims(w.Claims, s.Claims), of)
	}
	if len(s.From) > 0 {
		of = only(room.Calls(s.From), of)
	}
	room.Fill(r, filter, of)
}

func claims(s *v1alpha1.Fault) string {
	if len(s.Claims) > 0 {
		return ".claims"
	}
	return ""
}

// abort is how calls of gRPC, or other requests, are aborted; nil: they are not.
func abort(a *v1alpha1.FaultAbort, ofGRPC bool) *faultv3.FaultAbort {
	if a == nil {
		return nil
	}
	out := &faultv3.FaultAbort{Percentage: share(a.FaultShare)}
	switch {
	case a.GRPCStatus == nil:
		out.ErrorType = &faultv3.FaultAbort_HttpStatus{HttpStatus: uint32(min(max(*cmp.Or(a.HTTPStatus, new(int32(503))), 400), 599))}
	case ofGRPC:
		out.ErrorType = &faultv3.FaultAbort_GrpcStatus{GrpcStatus: uint32(max(*a.GRPCStatus, 0))}
	default:
		out.ErrorType = &faultv3.FaultAbort_HttpStatus{HttpStatus: cmp.Or(httpStatuses[*a.GRPCStatus], 500)}
	}
	return out
}

// do makes the fault.
func do(s *v1alpha1.Fault, a *faultv3.FaultAbort) *xdsmatcherv3.Matcher_OnMatch {
	return room.Run("fault", &compositev3.ExecuteFilterAction{TypedConfig: wire.Extension(faultName, faultOf(s, a))})
}

// faultOf does not count by what a client calls itself.
func faultOf(s *v1alpha1.Fault, a *faultv3.FaultAbort) *faultv3.HTTPFault {
	out := &faultv3.HTTPFault{
		Abort:                         a,
		MaxActiveFaults:               room.Number(s.MaxActive, defaultActive),
		DisableDownstreamClusterStats: true,
	}
	for _, h := range s.Headers {
		out.Headers = append(out.Headers, wire.HeaderMatch(h))
	}
	if s.Delay == nil {
		return out
	}
	if length := room.Length(&s.Delay.Duration); length > 0 {
		out.Delay = &commonfaultv3.FaultDelay{
			Percentage:         share(s.Delay.FaultShare),
			FaultDelaySecifier: &commonfaultv3.FaultDelay_FixedDelay{FixedDelay: durationpb.New(length)},
		}
	}
	return out
}

// share is in millionths, Envoy's finest unit.
func share(s v1alpha1.FaultShare) *typev3.FractionalPercent {
	part := uint64(*cmp.Or(s.Percent, new(int32(100)))) * 10_000
	if s.Fraction != nil {
		part = uint64(max(s.Fraction.Numerator, 0)) * 1_000_000 / uint64(max(*cmp.Or(s.Fraction.Denominator, new(int32(100))), 1))
	}
	return &typev3.FractionalPercent{Numerator: uint32(min(part, 1_000_000)), Denominator: typev3.FractionalPercent_MILLION}
}
