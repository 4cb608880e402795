package mesh

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// MaxAncestors is how many of them the API server takes of a policy.
const MaxAncestors = 16

// backendTarget is one of a BackendTLSPolicy's targets.
type backendTarget struct {
	Service, Section, Field string
}

func (t backendTarget) String() string {
	if t.Section == "" {
		return "Service " + t.Service
	}
	return "port " + t.Section + " of Service " + t.Service
}

// BackendTLSPolicyStatus is the status of a BackendTLSPolicy: one ancestor for each of our Gateways
// that sends to what it is about, the first ones by name; nil when it is gone.
func (m *Mesh) BackendTLSPolicyStatus(q *incr.Query, k string) *gwv1.PolicyStatus {
	p, ok := m.BackendTLSPolicies.Get(q, k)
	if !ok {
		return nil
	}
	_, refs, none := m.trusted(q, p)
	problems, message := map[string][]Verdict{}, "The Gateway speaks TLS as the policy says." // problems by Gateway
	for i, ref := range p.Spec.TargetRefs {
		t := backendTarget{key(p.Namespace, string(ref.Name)), section(ref), targetField(i)}
		if !aboutService(ref.LocalPolicyTargetReference) {
			none = first(none, wrong(gwv1.PolicyReasonInvalid, "%s names a %s of group %q: only a Service of the core group can have a BackendTLSPolicy", t.Field, ref.Kind, ref.Group))
			continue
		}
		has, problem := m.backendTargetProblem(q, p, t)
		if problem.OK() && m.meshed(q, t.Service, has) {
			message = "The Gateway speaks TLS as the policy says; of the pods that it reaches, those with a sidecar take it only where a MeshPolicy has mtls.mode: Permissive."
		}
		for _, g := range m.senders(q, t.Service, has) {
			problems[g] = append(problems[g], problem)
		}
	}
	if len(p.Spec.Options) > 0 {
		message += " But spec.options are not read: remove them."
	}
	st := &gwv1.PolicyStatus{}
	for _, g := range slices.Sorted(maps.Keys(problems)) {
		if len(st.Ancestors) == MaxAncestors {
			break
		}
		st.Ancestors = append(st.Ancestors, gwv1.PolicyAncestorStatus{
			AncestorRef: gatewayAncestor(g), ControllerName: ControllerName,
			Conditions: []metav1.Condition{
				holds(gwv1.PolicyConditionAccepted, p.Generation, first(join(problems[g]), none), gwv1.PolicyReasonAccepted, message),
				holds(gwv1.BackendTLSPolicyConditionResolvedRefs, p.Generation, refs, gwv1.BackendTLSPolicyReasonResolvedRefs, "All references were resolved."),
			},
		})
	}
	return st
}

func gatewayAncestor(k string) gwv1.ParentReference {
	namespace, name, _ := strings.Cut(k, "/")
	return gwv1.ParentReference{
		Group: new(gwv1.Group(gwv1.GroupName)), Kind: new(gwv1.Kind("Gateway")),
		Namespace: new(gwv1.Namespace(namespace)), Name: gwv1.ObjectName(name),
	}
}

// backendTargetProblem is what keeps a policy from holding at one of its targets. has are the ports of
// the Service that the target is about or, where there is no such port, all.
func (m *Mesh) backendTargetProblem(q *incr.Query, p *gwv1.BackendTLSPolicy, t backendTarget) (has func(port int32) bool, problem Verdict) {
	var ports []int32
	svc, ok := m.Services.Get(q, t.Service)
	if ok {
		for _, port := range svc.Spec.Ports {
			if t.Section == "" || port.Name == t.Section {
				ports = append(ports, port.Port)
			}
		}
	}
	if len(ports) == 0 {
		return func(int32) bool { return true }, wrong(gwv1.PolicyReasonTargetNotFound, "%s: there is no %s: add it, or name another", t.Field, t)
	}
	if other := m.backendPolicyOf(q, t.Service, t.Section); key(other.Namespace, other.Name) != key(p.Namespace, p.Name) {
		problem = wrong(gwv1.PolicyReasonConflicted, "%s: BackendTLSPolicy %s is about %s too, and holds because it is older, or the first by name: remove one", t.Field, key(other.Namespace, other.Name), t)
	}
	return func(port int32) bool { return slices.Contains(ports, port) }, problem
}

// meshed says whether an endpoint of some ports of a Service is in the mesh.
func (m *Mesh) meshed(q *incr.Query, service string, has func(port int32) bool) bool {
	svc, ok := m.Services.Get(q, service)
	return ok && slices.ContainsFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool {
		return has(p.Port) && len(peersOf(m.addressesOf(q, svc, p.Name).all()).Identities) > 0
	})
}

// destinations are the Services to which the Gateways of a route send what they read of it.
func (m *Mesh) destinations(q *incr.Query, k string) []string {
	if ofUDP(k) || !slices.ContainsFunc(m.attached.Get(q, k), func(a attached) bool { return len(a.Places) > 0 }) {
		return nil
	}
	return m.rules.Get(q, k).services()
}

// senders are the Gateways that send to one of some ports of a Service what they read.
func (m *Mesh) senders(q *incr.Query, service string, has func(port int32) bool) (out []string) {
	for _, k := range m.sentBy.Get(q, service) {
		if !slices.ContainsFunc(m.rules.Get(q, k).clusters(), func(c string) bool {
			at := parseCluster(c)
			return at.service == service && has(at.port)
		}) {
			continue
		}
		for _, a := range m.attached.Get(q, k) {
			if m.reads(q, k, a) && !slices.Contains(out, a.Gateway) {
				out = append(out, a.Gateway)
			}
		}
	}
	return out
}

// reads says whether a Gateway reads what a route is about: TLS that it passes through it does not.
func (m *Mesh) reads(q *incr.Query, k string, a attached) bool {
	if !ofTLS(k) {
		return len(a.Places) > 0
	}
	return slices.ContainsFunc(a.Places, func(p place) bool {
		l, ok := m.listenerOf(q, a.Gateway, p.Listener)
		return ok && l.ends()
	})
}
