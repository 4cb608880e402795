package mesh

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// RouteStatus is the status of an HTTPRoute: one entry for each of its parentRefs that names a
// Gateway of ours, the reference echoed as it was written; nil when the route is gone.
func (m *Mesh) RouteStatus(q *incr.Query, k string) *gwv1.HTTPRouteStatus {
	r, ok := m.HTTPRoutes.Get(q, k)
	if !ok {
		return nil
	}
	st := &gwv1.HTTPRouteStatus{}
	rules := m.rules.Get(q, k)
	quarantined := m.quarantined(q, k)
	for _, a := range m.attached.Get(q, k) {
		st.Parents = append(st.Parents, gwv1.RouteParentStatus{
			ParentRef: a.Ref, ControllerName: ControllerName,
			Conditions: routeConditions(r.Generation, first(a.Refused, quarantined), rules),
		})
	}
	return st
}

func routeConditions(generation int64, refused Verdict, rules resolved) (out []metav1.Condition) {
	if refused.OK() && !rules.Kept {
		refused = rules.Dropped
	}
	out = append(out, holds(gwv1.RouteConditionAccepted, generation, refused, gwv1.RouteReasonAccepted, "The route is served."))
	if rules.Kept && !rules.Dropped.OK() {
		partly := holds(gwv1.RouteConditionPartiallyInvalid, generation, Verdict{}, gwv1.RouteReasonUnsupportedValue, "Dropped Rule: "+rules.Dropped.Message)
		partly.Reason = rules.Dropped.Reason
		out = append(out, partly)
	}
	return append(out, holds(gwv1.RouteConditionResolvedRefs, generation, rules.Refs, gwv1.RouteReasonResolvedRefs, "All references were resolved."))
}
