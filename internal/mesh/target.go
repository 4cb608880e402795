package mesh

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

func targetField(i int) string { return fmt.Sprintf("spec.targetRefs[%d]", i) }

// String is how messages call it.
func (s subject) String() string {
	whole := string(s.Kind) + " " + key(s.Namespace, s.Name)
	switch {
	case s.Kind == room.Mesh:
		return "the mesh"
	case s.Kind == room.Namespace:
		return "Namespace " + s.Namespace
	case s.Kind == room.Pods:
		return "pods " + metav1.FormatLabelSelector(s.Selector) + " of Namespace " + s.Namespace
	case s.Port != 0:
		return fmt.Sprintf("port %d of %s", s.Port, whole)
	case s.Part != "":
		return partNames[s.Kind] + " " + s.Part + " of " + whole
	}
	return whole
}

var partNames = map[room.Kind]string{room.Service: "port", room.Gateway: "listener", room.HTTPRoute: "rule", room.GRPCRoute: "rule"}

// ancestor is the reference by which a status tells of it.
func (s subject) ancestor() gwv1.ParentReference {
	ref := func(group, kind, namespace, name string) gwv1.ParentReference {
		out := gwv1.ParentReference{Group: new(gwv1.Group(group)), Kind: new(gwv1.Kind(kind)), Name: gwv1.ObjectName(name)}
		if namespace != "" {
			out.Namespace = new(gwv1.Namespace(namespace))
		}
		return out
	}
	switch s.Kind {
	case room.Mesh:
		return ref(v1alpha1.GroupVersion.Group, "Mesh", "", v1alpha1.MeshName)
	case room.Namespace, room.Pods:
		return ref("", "Namespace", "", s.Namespace)
	}
	out := ref("", string(s.Kind), s.Namespace, s.Name)
	if s.Kind != room.Service && s.Kind != room.ServiceAccount {
		out.Group = new(gwv1.Group(gwv1.GroupName))
	}
	if s.Part != "" {
		out.SectionName = new(gwv1.SectionName(s.Part))
	}
	if s.Port != 0 {
		out.Port = new(gwv1.PortNumber(s.Port))
	}
	return out
}

// targetProblem is what is wrong with one of a policy's targets by itself, whatever other policies
// say.
func (m *Mesh) targetProblem(q *incr.Query, p *v1alpha1.MeshPolicy, s subject) Verdict {
	return first(unsuitable(p, s), m.missing(q, s), m.serverTLSProblem(q, p, s), m.trafficProblem(q, p, s))
}

// unsuitable says why a policy cannot be about a subject, or cannot be at all.
func unsuitable(p *v1alpha1.MeshPolicy, s subject) Verdict {
	has := false
	for _, r := range policy.All {
		if !r.Has(&p.Spec) {
			continue
		}
		has = true
		if !slices.Contains(r.On, s.Kind) {
			return wrong(gwv1.PolicyReasonInvalid, "spec.%s cannot be about %s: put it into a policy of its own with another target", r.Name, s)
		}
		if p.Spec.Mode == v1alpha1.PolicyShadow && !r.Shadow {
			return wrong(gwv1.PolicyReasonInvalid, "spec.mode: Shadow is not possible with spec.%s: put it into a policy of its own with mode Enforce", r.Name)
		}
	}
	if !has {
		return wrong(gwv1.PolicyReasonInvalid, "spec has no section, and says nothing: set one")
	}
	if s.Kind != room.Pods {
		return Verdict{}
	}
	if _, err := metav1.LabelSelectorAsSelector(s.Selector); err != nil {
		return wrong(gwv1.PolicyReasonInvalid, "%s.pods.selector: %v", s.Field, err)
	}
	return Verdict{}
}

// missing says which object, or which part of it, a policy waits for. Labels and ServiceAccounts are
// looked up in pods, so that nothing of them can be missing.
func (m *Mesh) missing(q *incr.Query, s subject) Verdict {
	there, parts := m.parts(q, s)
	switch {
	case !there:
		return wrong(gwv1.PolicyReasonTargetNotFound, "%s: %s %s does not exist: create it, or name another", s.Field, s.Kind, key(s.Namespace, s.Name))
	case s.part() && !parts:
		return wrong(gwv1.PolicyReasonTargetNotFound, "%s: there is no %s: add it, or name another", s.Field, s)
	}
	return Verdict{}
}

// parts says whether the object of a subject is there, and whether it has the part.
func (m *Mesh) parts(q *incr.Query, s subject) (there, has bool) {
	k := key(s.Namespace, s.Name)
	switch s.Kind {
	case room.Service:
		svc, ok := m.Services.Get(q, k)
		return ok, ok && slices.ContainsFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return s.names(p) })
	case room.Gateway:
		g := m.gateways.Get(q, k)
		_, has := find(g.Listeners, s.Part)
		return g.Gateway != nil, has
	case room.HTTPRoute, room.GRPCRoute:
		r, ok := m.route(q, routeKey(string(s.Kind), k))
		return ok, ok && slices.ContainsFunc(r.rules(), func(r ruleSpec) bool { return named(r.Name, s.Part) })
	}
	return true, true
}

func named(name *gwv1.SectionName, want string) bool { return name != nil && string(*name) == want }
