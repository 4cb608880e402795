package mesh

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/smi"
)

// TrafficTargetStatus is the status of a TrafficTarget; nil when it is gone.
func (m *Mesh) TrafficTargetStatus(q *incr.Query, k string) *access.TrafficTargetStatus {
	t, ok := m.TrafficTargets.Get(q, k)
	if !ok {
		return nil
	}
	var invalid, unresolved []Verdict
	for _, p := range m.targets.Get(q, k).Problems {
		v := Verdict{p.Reason, p.Message}
		if slices.Contains([]string{smi.ReasonNotFound, smi.ReasonInvalidMatch}, p.Reason) {
			unresolved = append(unresolved, v)
		} else {
			invalid = append(invalid, v)
		}
	}
	if account := smi.Destination(t); account != "" && m.crowded(q, account) {
		invalid = append(invalid, wrong("TooMany", "spec.destination: the rules of TCPRoutes about ServiceAccount %s are more than %d, or name sources in more than %d characters, so that nobody may send it bytes: let fewer in", account, maxByteRules, maxByteText))
	}
	held, counted := m.Holdings.Get(q, TargetKey(k))
	told := programmed(held, counted && held.Generation == t.Generation)
	accepted, resolved := join(invalid), join(unresolved)
	bad := first(accepted, resolved)
	if !accepted.OK() && !resolved.OK() {
		bad.Message = bounded(accepted.Message + "; " + resolved.Message)
	}
	bad = first(bad, told)
	st := &access.TrafficTargetStatus{ObservedGeneration: t.Generation}
	st.Conditions = append(st.Conditions,
		holds(access.ConditionAccepted, t.Generation, accepted, "Accepted", but("It is enforced at the pods that run as the destination.", m.accessRemarks(q, k, t))),
		holds(access.ConditionReady, t.Generation, bad, reasonEnforced, reached(held)),
	)
	if !bad.OK() {
		kind := v1alpha1.ConditionStalled
		if targetWaits(bad, unresolved) {
			kind = v1alpha1.ConditionReconciling
		}
		st.Conditions = append(st.Conditions, present(kind, t.Generation, bad))
	}
	st.Conditions = append(st.Conditions, holds(access.ConditionResolvedRefs, t.Generation, resolved, "ResolvedRefs", "All that the rules name is there and can be used."))
	slices.SortFunc(st.Conditions, byType)
	return st
}

// targetWaits says whether time alone may mend it: of what is named all may come, and proxies answer.
func targetWaits(bad Verdict, unresolved []Verdict) bool {
	switch bad.Reason {
	case reasonProgramming:
		return true
	case smi.ReasonNotFound:
		return !slices.ContainsFunc(unresolved, func(v Verdict) bool { return v.Reason != smi.ReasonNotFound })
	}
	return false
}

// Kinds of SMI whose names Gateway API has too.
const (
	SMITCPRoute = "TCPRoute.specs.smi-spec.io"
	SMIUDPRoute = "UDPRoute.specs.smi-spec.io"
)

// namedIn are what a TrafficTarget names, by kind and key, each once.
func namedIn(t *access.TrafficTarget) (out []string) {
	for _, r := range t.Spec.Rules {
		out = append(out, r.Kind+" "+key(t.Namespace, r.Name))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// namedByTargets are the TrafficTargets that name an object, in order.
func (m *Mesh) namedByTargets(q *incr.Query, kind, k string) (out []specs.User) {
	for _, target := range m.namedBy.Get(q, kind+" "+k) {
		if t, ok := m.TrafficTargets.Get(q, target); ok {
			out = append(out, specs.User{Kind: "TrafficTarget", Name: t.Name})
		}
	}
	return out
}

// SMITCPRouteStatus is the status of SMI's TCPRoute; nil when it is gone.
func (m *Mesh) SMITCPRouteStatus(q *incr.Query, k string) *specs.Status {
	r, ok := m.SMITCPRoutes.Get(q, k)
	if !ok {
		return nil
	}
	users := m.namedByTargets(q, TCPRoute, k)
	st := specStatus(r.Generation, Verdict{}, users)
	st.Conditions[0].Message = tcpRouteSaid(r, st.Conditions[0].Message, users)
	return st
}

// tcpRouteSaid is what is told of a TCPRoute that can be used.
func tcpRouteSaid(r *specs.TCPRoute, said string, users []specs.User) string {
	if len(r.Spec.Matches.Ports) == 0 {
		said += " It names no port, which stands for all of them."
	}
	if len(users) == 0 {
		return but(said, []string{fmt.Sprintf("no TrafficTarget of namespace %s names it, so that it does nothing: name it in spec.rules of one", r.Namespace)})
	}
	return said
}

// SMIUDPRouteStatus is the status of SMI's UDPRoute; nil when it is gone.
func (m *Mesh) SMIUDPRouteStatus(q *incr.Query, k string) *specs.Status {
	r, ok := m.SMIUDPRoutes.Get(q, k)
	if !ok {
		return nil
	}
	bad := wrong(smi.ReasonNotEnforced, "No sidecar sees UDP, which a TrafficTarget that names this neither allows nor keeps out: guard it by a NetworkPolicy, or write a TCPRoute if TCP is meant.")
	return specStatus(r.Generation, bad, m.namedByTargets(q, UDPRoute, k))
}

// specStatus is the status of a description of traffic: what is wrong with it, and who names it.
func specStatus(generation int64, bad Verdict, users []specs.User) *specs.Status {
	st := &specs.Status{ObservedGeneration: generation, UsedBy: users[:min(len(users), maxUsers)], Conditions: []metav1.Condition{
		holds(specs.ConditionAccepted, generation, bad, specs.ConditionAccepted, "All of it can be used."),
		holds(specs.ConditionReady, generation, bad, specs.ConditionAccepted, "All of it can be used."),
	}}
	if !bad.OK() {
		st.Conditions = append(st.Conditions, present(v1alpha1.ConditionStalled, generation, bad))
	}
	return st
}
