package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Verdict is what is wrong with something, for the one who wrote it: nothing, by its zero value.
type Verdict struct{ Reason, Message string }

// OK says that nothing is wrong.
func (v Verdict) OK() bool { return v.Reason == "" }

// wrong makes a Verdict. The message names the field and the remedy.
func wrong[R ~string](reason R, format string, args ...any) Verdict {
	return Verdict{string(reason), fmt.Sprintf(format, args...)}
}

// first returns the first Verdict that is not OK.
func first(vs ...Verdict) Verdict {
	for _, v := range vs {
		if !v.OK() {
			return v
		}
	}
	return Verdict{}
}

// join makes one Verdict of several: the first one's reason, everyone's message.
func join(vs []Verdict) Verdict {
	var bad []string
	for _, v := range vs {
		if !v.OK() {
			bad = append(bad, v.Message)
		}
	}
	if len(bad) == 0 {
		return Verdict{}
	}
	slices.Sort(bad)
	return Verdict{first(vs...).Reason, bounded(strings.Join(slices.Compact(bad), "; "))}
}

// bounded keeps a message under what the API server accepts in a condition (32,768 characters),
// and far below it: it is for a person to read.
func bounded(s string) string {
	const most = 2000
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// holds makes a condition from what is wrong: True with the reason good when nothing is. Times are
// set where it is written.
func holds[T, R ~string](kind T, generation int64, v Verdict, good R, message string) metav1.Condition {
	c := metav1.Condition{Type: string(kind), Status: metav1.ConditionTrue, Reason: string(good), Message: message, ObservedGeneration: generation}
	if !v.OK() {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v.Reason, v.Message
	}
	return c
}

func byType(a, b metav1.Condition) int { return cmp.Compare(a.Type, b.Type) }

// Status is the status wanted of one object. Its conditions have no lastTransitionTime: that is
// set by comparing with the live object where the status is written.
type Status struct {
	Kind string // GatewayClass, Gateway, ListenerSet, HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, UDPRoute, BackendTLSPolicy, MeshPolicy, TrafficSplit, HTTPRouteGroup
	Key  string // namespace/name, or name
	// Value is a gwv1.GatewayClassStatus, gwv1.GatewayStatus, gwv1.ListenerSetStatus,
	// v1alpha1.MeshPolicyStatus, those of SMI's kinds, gwv1.HTTPRouteStatus or that of another kind of route, or gwv1.PolicyStatus, of routes and the last
	// only the parents or ancestors with our ControllerName; nil: not ours, or gone.
	Value any
}
