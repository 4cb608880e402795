package controllers

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
)

// Limits of the API server on what a status holds.
const (
	maxConditions = 8
	maxParents    = 32
	maxMessage    = 32768
)

// conditions is wanted with the times of live kept where a status did not change, followed by
// the conditions of live that others write: those with a domain that is not ours.
func conditions(live, wanted []metav1.Condition, now metav1.Time) []metav1.Condition {
	var out []metav1.Condition
	for _, c := range wanted {
		c.LastTransitionTime = now
		if was := meta.FindStatusCondition(live, c.Type); was != nil && was.Status == c.Status {
			c.LastTransitionTime = was.LastTransitionTime
		}
		c.Message = clip(c.Message, maxMessage)
		out = append(out, c)
	}
	for _, c := range live {
		if foreign(c.Type) && meta.FindStatusCondition(wanted, c.Type) == nil {
			out = append(out, c)
		}
	}
	return out[:min(len(out), maxConditions)]
}

func foreign(conditionType string) bool {
	domain, _, qualified := strings.Cut(conditionType, "/")
	return qualified && domain != "mesh.weft.dev"
}

// newer tells that live speaks of a later generation than wanted: Gateway API forbids going back.
func newer(live, wanted []metav1.Condition) bool {
	return slices.ContainsFunc(wanted, func(c metav1.Condition) bool {
		was := meta.FindStatusCondition(live, c.Type)
		return was != nil && was.ObservedGeneration > c.ObservedGeneration
	})
}

func gatewayClassStatus(live, wanted gwv1.GatewayClassStatus, now metav1.Time) gwv1.GatewayClassStatus {
	if newer(live.Conditions, wanted.Conditions) {
		return live
	}
	wanted.Conditions = conditions(live.Conditions, wanted.Conditions, now)
	return wanted
}

func xmeshStatus(live, wanted gwx.MeshStatus, now metav1.Time) gwx.MeshStatus {
	if newer(live.Conditions, wanted.Conditions) {
		return live
	}
	wanted.Conditions = conditions(live.Conditions, wanted.Conditions, now)
	return wanted
}

func gatewayStatus(live, wanted gwv1.GatewayStatus, now metav1.Time) gwv1.GatewayStatus {
	if newer(live.Conditions, wanted.Conditions) {
		return live
	}
	wanted.Conditions = conditions(live.Conditions, wanted.Conditions, now)
	wanted.Listeners = listeners(live.Listeners, wanted.Listeners, now)
	return wanted
}

// listenerSetStatus is that of a ListenerSet. Where nobody knows whose it is, only what is no longer so
// is taken back.
func listenerSetStatus(live, wanted gwv1.ListenerSetStatus, now metav1.Time) gwv1.ListenerSetStatus {
	const accepted = string(gwv1.ListenerSetConditionAccepted)
	orphan := meta.FindStatusCondition(wanted.Conditions, accepted).Reason == string(mesh.ReasonParentNotFound)
	if newer(live.Conditions, wanted.Conditions) || orphan && !meta.IsStatusConditionTrue(live.Conditions, accepted) {
		return live
	}
	wanted.Conditions = conditions(live.Conditions, wanted.Conditions, now)
	wanted.Listeners = entriesOf(listeners(listenersOf(live.Listeners), listenersOf(wanted.Listeners), now))
	return wanted
}

// listeners is wanted with the times of live.
func listeners(live, wanted []gwv1.ListenerStatus, now metav1.Time) []gwv1.ListenerStatus {
	out := slices.Clone(wanted)
	for i, l := range out {
		at := slices.IndexFunc(live, func(was gwv1.ListenerStatus) bool { return was.Name == l.Name })
		var was gwv1.ListenerStatus
		if at >= 0 {
			was = live[at]
		}
		out[i].Conditions = conditions(was.Conditions, l.Conditions, now)
	}
	return out
}

func listenersOf(entries []gwv1.ListenerEntryStatus) (out []gwv1.ListenerStatus) {
	for _, e := range entries {
		out = append(out, gwv1.ListenerStatus(e))
	}
	return out
}

func entriesOf(listeners []gwv1.ListenerStatus) (out []gwv1.ListenerEntryStatus) {
	for _, l := range listeners {
		out = append(out, gwv1.ListenerEntryStatus(l))
	}
	return out
}

func meshPolicyStatus(live, wanted v1alpha1.MeshPolicyStatus, now metav1.Time) v1alpha1.MeshPolicyStatus {
	if newer(live.Conditions, wanted.Conditions) {
		return live
	}
	wanted.Conditions = conditions(live.Conditions, wanted.Conditions, now)
	wanted.Ancestors = slices.Clone(wanted.Ancestors)
	for i, a := range wanted.Ancestors {
		var was gwv1.PolicyAncestorStatus
		at := slices.IndexFunc(live.Ancestors, func(was gwv1.PolicyAncestorStatus) bool {
			return equality.Semantic.DeepEqual(was.AncestorRef, a.AncestorRef)
		})
		if at >= 0 {
			was = live.Ancestors[at]
		}
		wanted.Ancestors[i].Conditions = conditions(was.Conditions, a.Conditions, now)
	}
	return wanted
}

func trafficTargetStatus(live, wanted access.TrafficTargetStatus, now metav1.Time) access.TrafficTargetStatus {
	if newer(live.Conditions, wanted.Conditions) {
		return live
	}
	wanted.Conditions = conditions(live.Conditions, wanted.Conditions, now)
	return wanted
}

func trafficSplitStatus(live, wanted split.TrafficSplitStatus, now metav1.Time) split.TrafficSplitStatus {
	if newer(live.Conditions, wanted.Conditions) {
		return live
	}
	wanted.Conditions = conditions(live.Conditions, wanted.Conditions, now)
	wanted.Ports = slices.Clone(wanted.Ports)
	for i, p := range wanted.Ports {
		var was split.TrafficSplitPortStatus
		if at := slices.IndexFunc(live.Ports, func(was split.TrafficSplitPortStatus) bool { return was.Port == p.Port }); at >= 0 {
			was = live.Ports[at]
		}
		wanted.Ports[i].Conditions = conditions(was.Conditions, p.Conditions, now)
	}
	return wanted
}

// specsStatus is that of a kind of SMI's that describes traffic.
func specsStatus(live, wanted specs.Status, now metav1.Time) specs.Status {
	if newer(live.Conditions, wanted.Conditions) {
		return live
	}
	wanted.Conditions = conditions(live.Conditions, wanted.Conditions, now)
	return wanted
}

func routeStatus[S mesh.AnyRouteStatus](live, wanted S, now metav1.Time) S {
	all := parents(gwv1.HTTPRouteStatus(live).Parents, gwv1.HTTPRouteStatus(wanted).Parents, now)
	return S(gwv1.HTTPRouteStatus{RouteStatus: gwv1.RouteStatus{Parents: all}})
}

// policyStatus is that of a policy of Gateway API, whose ancestors are kept as a route's parents are.
// They may be none, but not absent.
func policyStatus(live, wanted gwv1.PolicyStatus, now metav1.Time) gwv1.PolicyStatus {
	out := gwv1.PolicyStatus{Ancestors: []gwv1.PolicyAncestorStatus{}}
	for _, p := range entries(asParents(live), asParents(wanted), now, mesh.MaxAncestors) {
		out.Ancestors = append(out.Ancestors, gwv1.PolicyAncestorStatus{AncestorRef: p.ParentRef, ControllerName: p.ControllerName, Conditions: p.Conditions})
	}
	return out
}

func asParents(s gwv1.PolicyStatus) (out []gwv1.RouteParentStatus) {
	for _, a := range s.Ancestors {
		out = append(out, gwv1.RouteParentStatus{ParentRef: a.AncestorRef, ControllerName: a.ControllerName, Conditions: a.Conditions})
	}
	return out
}

func parents(live, wanted []gwv1.RouteParentStatus, now metav1.Time) []gwv1.RouteParentStatus {
	return entries(live, wanted, now, maxParents)
}

// entries replaces the entries of ours in live by wanted, most in all. The list is atomic and shared
// with other controllers: theirs stay, where they stood.
func entries(live, wanted []gwv1.RouteParentStatus, now metav1.Time, most int) []gwv1.RouteParentStatus {
	rest := slices.Clone(wanted)
	out := []gwv1.RouteParentStatus{}
	for _, was := range live {
		if was.ControllerName != mesh.ControllerName {
			out = append(out, was)
			continue
		}
		i := slices.IndexFunc(rest, func(p gwv1.RouteParentStatus) bool {
			return equality.Semantic.DeepEqual(p.ParentRef, was.ParentRef)
		})
		if i >= 0 {
			out = append(out, parent(was, rest[i], now))
			rest = slices.Delete(rest, i, i+1)
		}
	}
	for _, p := range rest {
		out = append(out, parent(gwv1.RouteParentStatus{}, p, now))
	}
	return out[:min(len(out), most)]
}

func parent(live, wanted gwv1.RouteParentStatus, now metav1.Time) gwv1.RouteParentStatus {
	if newer(live.Conditions, wanted.Conditions) {
		return live
	}
	wanted.Conditions = conditions(live.Conditions, wanted.Conditions, now)
	return wanted
}
