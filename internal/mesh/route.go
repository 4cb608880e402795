package mesh

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// The kinds of routes.
const (
	HTTPRoute = "HTTPRoute"
	GRPCRoute = "GRPCRoute"
	TLSRoute  = "TLSRoute"
	TCPRoute  = "TCPRoute"
	UDPRoute  = "UDPRoute"
)

// route is a route of any kind.
type route struct {
	Kind string
	*metav1.ObjectMeta
	Parents   []gwv1.ParentReference
	Hostnames []gwv1.Hostname
	http      *gwv1.HTTPRouteSpec // one of the three
	grpc      *gwv1.GRPCRouteSpec
	bytes     []gwv1.TLSRouteRule // of a TLSRoute, and of a TCPRoute or UDPRoute, which have the same fields
}

// routeKey is a route's key among those of all kinds: "kind/namespace/name".
func routeKey(kind, key string) string { return kind + "/" + key }

// route is a route by its routeKey, or what a TrafficSplit has of one: no parents, and no rules.
func (m *Mesh) route(q *incr.Query, k string) (route, bool) {
	switch kind, name, _ := strings.Cut(k, "/"); kind {
	case HTTPRoute:
		if r, ok := m.HTTPRoutes.Get(q, name); ok {
			return route{kind, &r.ObjectMeta, r.Spec.ParentRefs, r.Spec.Hostnames, &r.Spec, nil, nil}, true
		}
	case GRPCRoute:
		if r, ok := m.GRPCRoutes.Get(q, name); ok {
			return route{kind, &r.ObjectMeta, r.Spec.ParentRefs, r.Spec.Hostnames, nil, &r.Spec, nil}, true
		}
	case TLSRoute:
		if r, ok := m.TLSRoutes.Get(q, name); ok {
			return route{kind, &r.ObjectMeta, r.Spec.ParentRefs, r.Spec.Hostnames, nil, nil, r.Spec.Rules}, true
		}
	case TCPRoute:
		if r, ok := m.TCPRoutes.Get(q, name); ok {
			return route{kind, &r.ObjectMeta, r.Spec.ParentRefs, nil, nil, nil, likeTLS(r.Spec.Rules)}, true
		}
	case UDPRoute:
		if r, ok := m.UDPRoutes.Get(q, name); ok {
			return route{kind, &r.ObjectMeta, r.Spec.ParentRefs, nil, nil, nil, likeTLS(r.Spec.Rules)}, true
		}
	case TrafficSplit:
		if s, ok := m.TrafficSplits.Get(q, name); ok {
			meta := s.ObjectMeta
			meta.Generation = m.splitVersion(q, s)
			return route{Kind: kind, ObjectMeta: &meta}, true
		}
	}
	return route{}, false
}

// routes is the source of all routes' keys.
func (m *Mesh) routes() incr.Live[string] {
	return incr.Union(m.ofKind(HTTPRoute), m.ofKind(GRPCRoute), m.byteRoutes())
}

func (m *Mesh) ofKind(kind string) incr.Live[string] {
	var table incr.Live[string] = m.HTTPRoutes
	switch kind {
	case GRPCRoute:
		table = m.GRPCRoutes
	case TLSRoute:
		table = m.TLSRoutes
	case TCPRoute:
		table = m.TCPRoutes
	case UDPRoute:
		table = m.UDPRoutes
	case TrafficSplit:
		table = m.TrafficSplits
	}
	return incr.Named(table, func(k string) string { return routeKey(kind, k) })
}

// AnyRouteStatus is the status of one kind of route: all are the same but by name.
type AnyRouteStatus interface {
	gwv1.HTTPRouteStatus | gwv1.GRPCRouteStatus | gwv1.TLSRouteStatus | gwv1.TCPRouteStatus | gwv1.UDPRouteStatus
}

// RouteStatus gives the status of a route of a kind, whose type S is, by its key: one entry for each of its
// parentRefs that names a Gateway of ours, a ListenerSet of one, a Service or an XMesh of ours, the reference
// echoed as it was written; nil when the route is gone.
func RouteStatus[S AnyRouteStatus](m *Mesh, kind string) func(q *incr.Query, k string) *S {
	return func(q *incr.Query, k string) *S {
		parents, ok := m.parentStatuses(q, routeKey(kind, k))
		if !ok {
			return nil
		}
		return new(S(gwv1.HTTPRouteStatus{RouteStatus: gwv1.RouteStatus{Parents: parents}}))
	}
}

func (m *Mesh) parentStatuses(q *incr.Query, k string) (out []gwv1.RouteParentStatus, exists bool) {
	r, ok := m.route(q, k)
	if !ok {
		return nil, false
	}
	quarantined := m.quarantined(q, k)
	for _, a := range m.attached.Get(q, k) {
		rules := m.rules
		if a.Service != "" {
			rules = m.serviceBound
		}
		out = append(out, gwv1.RouteParentStatus{
			ParentRef: a.Ref, ControllerName: ControllerName,
			Conditions: routeConditions(r.Generation, first(a.Refused, m.withPolicies(q, quarantined, rules.Get(q, k).Rules, a)), rules.Get(q, k), m.standing(q, k, a, rules.Get(q, k))),
		})
	}
	return out, true
}

// withPolicies adds to why a route is quarantined the policies that shape it there: what a proxy refused may be theirs.
func (m *Mesh) withPolicies(q *incr.Query, v Verdict, rules []Rule, a attached) Verdict {
	if v.OK() {
		return v
	}
	if by := PoliciesOf(m.governedAt(q, rules, a)); len(by) > 0 {
		v.Message += "; that may be by what a policy about it says: MeshPolicy " + strings.Join(by, ", ")
	}
	return v
}

func routeConditions(generation int64, refused Verdict, rules resolved, accepted string) (out []metav1.Condition) {
	if refused.OK() && !rules.Kept {
		refused = rules.Dropped
	}
	out = append(out, holds(gwv1.RouteConditionAccepted, generation, refused, gwv1.RouteReasonAccepted, accepted))
	if rules.Kept && !rules.Dropped.OK() {
		partly := holds(gwv1.RouteConditionPartiallyInvalid, generation, Verdict{}, gwv1.RouteReasonUnsupportedValue, "Dropped Rule: "+rules.Dropped.Message)
		partly.Reason = rules.Dropped.Reason
		out = append(out, partly)
	}
	return append(out, holds(gwv1.RouteConditionResolvedRefs, generation, rules.Refs, gwv1.RouteReasonResolvedRefs, "All references were resolved."))
}
