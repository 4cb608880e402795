package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"github.com/weft-mesh/weft/internal/incr"
)

// TrafficPolicyStatus is the status of an XBackendTrafficPolicy; nil when it is gone. It has an ancestor for
// each Service that it names, which stands for what sidecars do, and one for each of our Gateways that send
// to one of them.
func (m *Mesh) TrafficPolicyStatus(q *incr.Query, k string) *gwv1.PolicyStatus {
	p, ok := m.XBackendTrafficPolicies.Get(q, k)
	if !ok {
		return nil
	}
	bad, gateways := badTraffic(p), map[string][]Verdict{} // problems by Gateway
	out := trafficAncestors{policy: p, status: &gwv1.PolicyStatus{}}
	for i, t := range p.Spec.TargetRefs {
		if !aboutService(t) {
			out.add(gwv1.ParentReference{Group: new(t.Group), Kind: new(t.Kind), Namespace: new(gwv1.Namespace(p.Namespace)), Name: t.Name}, bad)
			continue
		}
		service := key(p.Namespace, string(t.Name))
		problem := first(bad, m.trafficTargetProblem(q, p, service, targetField(i)))
		inMesh := sendingRoutes{m.sentInMesh.Get(q, service), m.serviceBound}
		out.add(serviceAncestor(p.Namespace, t.Name), first(problem, m.sessionless(q, p, service, inMesh)))
		for _, g := range m.senders(q, service, func(int32) bool { return true }) {
			gateways[g] = append(gateways[g], first(problem, m.sessionless(q, p, service, m.sendingBy(q, service, g))))
		}
	}
	for _, g := range slices.Sorted(maps.Keys(gateways)) {
		out.add(gatewayAncestor(g), join(gateways[g]))
	}
	return out.status
}

// trafficAncestors are what is said of a policy.
type trafficAncestors struct {
	policy *gwx.XBackendTrafficPolicy
	status *gwv1.PolicyStatus
}

func (a trafficAncestors) add(ref gwv1.ParentReference, problem Verdict) {
	if len(a.status.Ancestors) == MaxAncestors {
		return
	}
	a.status.Ancestors = append(a.status.Ancestors, gwv1.PolicyAncestorStatus{
		AncestorRef: ref, ControllerName: ControllerName,
		Conditions: []metav1.Condition{holds(gwv1.PolicyConditionAccepted, a.policy.Generation, problem, gwv1.PolicyReasonAccepted, trafficMessage(a.policy))},
	})
}

func serviceAncestor(namespace string, name gwv1.ObjectName) gwv1.ParentReference {
	return gwv1.ParentReference{
		Group: new(gwv1.Group("")), Kind: new(gwv1.Kind("Service")),
		Namespace: new(gwv1.Namespace(namespace)), Name: name,
	}
}

// trafficTargetProblem is what keeps a policy from holding at a Service.
func (m *Mesh) trafficTargetProblem(q *incr.Query, p *gwx.XBackendTrafficPolicy, service, field string) Verdict {
	if _, ok := m.Services.Get(q, service); !ok {
		return wrong(gwv1.PolicyReasonTargetNotFound, "%s: Service %s does not exist: create it, or name another", field, service)
	}
	if other := m.eldestTrafficPolicy(q, service); key(other.Namespace, other.Name) != key(p.Namespace, p.Name) {
		return wrong(gwv1.PolicyReasonConflicted, "%s: XBackendTrafficPolicy %s is about Service %s too, and holds because it is older, or the first by name: remove one", field, key(other.Namespace, other.Name), service)
	}
	return Verdict{}
}

// trafficMessage says what proxies make of a policy.
func trafficMessage(p *gwx.XBackendTrafficPolicy) string {
	var out []string
	if c := p.Spec.RetryConstraint; c != nil {
		b := budgetOf(c)
		out = append(out, fmt.Sprintf("In each proxy, of the requests that are under way at most %d %% are retries, though always up to %d: proxies count what is under way, not what was over an interval.", b.Percent, b.Least))
	}
	if p.Spec.SessionPersistence != nil {
		out = append(out, "Sessions are kept by the rules that send to the Service, each for itself, unless a rule says something of sessions itself.")
	}
	if len(out) == 0 {
		return "The policy says nothing: add retryConstraint or sessionPersistence, or remove it."
	}
	return strings.Join(out, " ")
}

// sendingRoutes are some routes, with their rules as they are at a Gateway or in the mesh.
type sendingRoutes struct {
	keys  []string
	rules *incr.Memo[string, resolved]
}

// sendingBy are the routes by which a Gateway sends to a Service.
func (m *Mesh) sendingBy(q *incr.Query, service, gateway string) sendingRoutes {
	out := sendingRoutes{rules: m.rules}
	for _, k := range m.sentBy.Get(q, service) {
		if slices.ContainsFunc(m.attached.Get(q, k), func(a attached) bool { return a.Gateway == gateway && len(a.Places) > 0 }) {
			out.keys = append(out.keys, k)
		}
	}
	return out
}

// sessionless names the rules that send to a Service, and do not keep the sessions that its policy asks for.
func (m *Mesh) sessionless(q *incr.Query, p *gwx.XBackendTrafficPolicy, service string, by sendingRoutes) Verdict {
	if p.Spec.SessionPersistence == nil {
		return Verdict{}
	}
	var all []Verdict
	for _, k := range by.keys {
		for _, r := range by.rules.Get(q, k).Rules {
			if r.Sessionless != "" && slices.ContainsFunc(r.Backends, func(b Backend) bool { return parseCluster(b.Cluster).service == service }) {
				all = append(all, wrong(gwv1.PolicyReasonInvalid, "%s keeps no sessions, though all else of the policy holds: %s", strings.Replace(k, "/", " ", 1), r.Sessionless))
			}
		}
	}
	return join(all)
}

// meshDestinations are the Services to which sidecars send by a route.
func (m *Mesh) meshDestinations(q *incr.Query, k string) []string {
	if len(m.frontends(q, k)) == 0 {
		return nil
	}
	return m.serviceBound.Get(q, k).services()
}
