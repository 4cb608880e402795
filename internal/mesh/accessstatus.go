package mesh

import (
	"fmt"
	"slices"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
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
		holds(access.ConditionAccepted, t.Generation, accepted, "Accepted", "Of the pods that run as the destination."),
		holds(access.ConditionReady, t.Generation, bad, reasonEnforced, reached(held)),
	)
	if !bad.OK() {
		kind := v1alpha1.ConditionStalled
		if targetWaits(bad, unresolved) {
			kind = v1alpha1.ConditionReconciling
		}
		st.Conditions = append(st.Conditions, present(kind, t.Generation, bad))
	}
	st.Conditions = append(st.Conditions, holds(access.ConditionResolvedRefs, t.Generation, resolved, "ResolvedRefs", fmt.Sprintf("All %d rules are resolved.", len(t.Spec.Rules))))
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
