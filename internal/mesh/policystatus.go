package mesh

import (
	"fmt"
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
)

// Reasons of the conditions of a MeshPolicy, beside those of Gateway API.
const (
	reasonEnforced          = "Enforced"          // it holds
	reasonShadowed          = "Shadowed"          // it is tried out
	reasonOverridden        = "Overridden"        // an outer policy demands more
	reasonRefused           = "Refused"           // by a proxy
	reasonProgramming       = "Programming"       // proxies are being told
	reasonConfigMapNotFound = "ConfigMapNotFound" // that a section refers to, or the key in it
	reasonModuleNotFetched  = "ModuleNotFetched"  // that a section refers to: not yet, or its server is away
	reasonExpired           = "Expired"           // a section of it ended by itself
	reasonKeysUnavailable   = "KeysUnavailable"   // by which a section verifies tokens
	reasonSecretNotFound    = "SecretNotFound"    // that a section refers to, of the type that it reads
	reasonServerUnavailable = "ServerUnavailable" // that a section has asked: it has no ready pod

	reasonProviderUnavailable = "ProviderUnavailable" // whose endpoints were never looked up
)

// PolicyStatus is the status of a MeshPolicy; nil when it is gone.
func (m *Mesh) PolicyStatus(q *incr.Query, k string) *v1alpha1.MeshPolicyStatus {
	p, ok := m.MeshPolicies.Get(q, k)
	if !ok {
		return nil
	}
	held, counted := m.Holdings.Get(q, k)
	told := programmed(held, counted && held.Generation == p.Generation)
	st := &v1alpha1.MeshPolicyStatus{ObservedGeneration: p.Generation, Proxies: policyProxies(held)}
	var problems, contests []Verdict
	for _, s := range subjects(p) {
		problem := m.targetProblem(q, p, s)
		lost, contested, lacks := Verdict{}, Verdict{}, Verdict{}
		if problem.OK() {
			lost, contested = m.contest(q, p, s)
			lacks = first(m.lacks(q, p, s), m.lawProblem(q, p, s), m.unchecked(q, p))
		}
		st.Ancestors = addAncestor(st.Ancestors, s.ancestor(), p.Generation, first(problem, lacks, lost), told)
		problems, contests = append(problems, problem, lacks, lost), append(contests, contested)
	}
	st.Rules = m.toldRules(q, p)
	st.Conditions = policyConditions(p, join(worstFirst(problems)), told, m.stale(q, p)+m.unlabelled(q, p)+reached(held), m.ends(q, p))
	st.Conditions = addPresent(st.Conditions, v1alpha1.ConditionConflicted, p.Generation, join(contests))
	st.Conditions = addPresent(st.Conditions, v1alpha1.ConditionOverridden, p.Generation, m.overriddenBy(q, p))
	slices.SortFunc(st.Conditions, byType)
	return st
}

func policyProxies(h cluster.Holding) *v1alpha1.PolicyProxies {
	out := &v1alpha1.PolicyProxies{Total: h.Total, Acknowledged: h.Acknowledged, Summary: fmt.Sprintf("%d/%d", h.Acknowledged, h.Total)}
	for _, r := range h.Refused {
		out.Refused = append(out.Refused, v1alpha1.Refusal{Proxy: r.Proxy, Resource: r.Resource, Message: r.Detail})
	}
	return out
}

// programmed is what keeps a policy from holding at the proxies that it reaches.
func programmed(h cluster.Holding, counted bool) Verdict {
	switch {
	case !counted:
		return wrong(reasonProgramming, "The proxies are being told.")
	case len(h.Refused) > 0:
		return wrong(reasonRefused, "proxy %s refused %s and keeps the one before: %s", h.Refused[0].Proxy, h.Refused[0].Resource, bounded(h.Refused[0].Detail))
	case h.Acknowledged < h.Total:
		return wrong(reasonProgramming, "%d of %d proxies have acknowledged it.", h.Acknowledged, h.Total)
	}
	return Verdict{}
}

// worstFirst puts what only a change of the policy can mend before what may mend itself.
func worstFirst(vs []Verdict) []Verdict {
	slices.SortStableFunc(vs, func(a, b Verdict) int {
		switch {
		case waits(a) == waits(b):
			return 0
		case waits(b):
			return -1
		}
		return 1
	})
	return vs
}

// waits says whether time alone may mend it: GitOps tools apply objects in any order, so that a
// target, or a Secret, may come after its policy.
func waits(v Verdict) bool {
	return slices.Contains([]string{
		string(gwv1.PolicyReasonTargetNotFound), reasonCertificateNotFound, reasonConfigMapNotFound, reasonModuleNotFetched, reasonKeysUnavailable, reasonSecretNotFound, reasonServerUnavailable, reasonProviderUnavailable,
		string(gwv1.RouteReasonBackendNotFound), reasonProgramming,
	}, v.Reason) ||
		slices.Contains(splitWaits, v.Reason)
}

// policyConditions are Ready and, as kstatus asks, what explains that it is not.
func policyConditions(p *v1alpha1.MeshPolicy, problem, told Verdict, message, ended string) (out []metav1.Condition) {
	good := reasonEnforced
	if p.Spec.Mode == v1alpha1.PolicyShadow {
		good, message = reasonShadowed, "Nothing is refused because of it; what would be is counted in weft_shadow_denied_total. "+message
	}
	if ended != "" {
		good, message = reasonExpired, ended+": remove it, or set a later time. "+message
	}
	bad := first(problem, told)
	out = append(out, holds(v1alpha1.ConditionReady, p.Generation, bad, good, message))
	if !bad.OK() {
		kind := v1alpha1.ConditionStalled
		if waits(bad) {
			kind = v1alpha1.ConditionReconciling
		}
		out = append(out, present(kind, p.Generation, bad))
	}
	return out
}

// addPresent adds a condition that is there only if there is something to say.
func addPresent(all []metav1.Condition, kind string, generation int64, v Verdict) []metav1.Condition {
	if v.OK() {
		return all
	}
	return append(all, present(kind, generation, v))
}

func reached(h cluster.Holding) string {
	if h.Total == 0 {
		return "It is about no proxy that is connected."
	}
	return fmt.Sprintf("All proxies that it is about, %d, have acknowledged it.", h.Total)
}

// present is a condition that is there only while it is True.
func present(kind string, generation int64, v Verdict) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: v.Reason, Message: v.Message, ObservedGeneration: generation}
}

// addAncestor tells of a target. Targets by label share an ancestor: if one of them is not accepted,
// it is not.
func addAncestor(all []gwv1.PolicyAncestorStatus, ref gwv1.ParentReference, generation int64, problem, told Verdict) []gwv1.PolicyAncestorStatus {
	at := slices.IndexFunc(all, func(a gwv1.PolicyAncestorStatus) bool { return reflect.DeepEqual(a.AncestorRef, ref) })
	if at < 0 {
		at, all = len(all), append(all, gwv1.PolicyAncestorStatus{AncestorRef: ref, ControllerName: ControllerName})
	} else if problem.OK() {
		return all
	}
	if !problem.OK() {
		told = Verdict{problem.Reason, "See Accepted."}
	}
	all[at].Conditions = []metav1.Condition{
		holds(gwv1.PolicyConditionAccepted, generation, problem, gwv1.PolicyReasonAccepted, "The policy is about it."),
		holds(gwv1.GatewayConditionProgrammed, generation, told, gwv1.GatewayReasonProgrammed, "The proxies have the policy."),
	}
	return all
}
