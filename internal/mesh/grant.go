package mesh

import (
	"fmt"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
)

// granted says whether a ReferenceGrant in namespace to lets objects of kind fromKind in namespace from refer to
// a core object there.
func (m *Mesh) granted(q *incr.Query, fromKind, from, toKind, to, name string) bool {
	for _, k := range m.GrantsIn.Get(q, to) {
		if g, ok := m.ReferenceGrants.Get(q, k); ok && grantsFrom(g, fromKind, from) && grantsTo(g, toKind, name) {
			return true
		}
	}
	return false
}

func grantsFrom(g *gwv1.ReferenceGrant, kind, namespace string) bool {
	for _, f := range g.Spec.From {
		if string(f.Group) == groupOf(kind) && string(f.Kind) == kind && string(f.Namespace) == namespace {
			return true
		}
	}
	return false
}

// groupOf is the group of a kind that refers to others.
func groupOf(kind string) string {
	if kind == kindMeshPolicy {
		return v1alpha1.GroupVersion.Group
	}
	return gwv1.GroupName
}

func grantsTo(g *gwv1.ReferenceGrant, kind, name string) bool {
	for _, t := range g.Spec.To {
		if t.Group == "" && string(t.Kind) == kind && (t.Name == nil || *t.Name == "" || string(*t.Name) == name) {
			return true
		}
	}
	return false
}

// reference is one that crosses namespaces: of an object of Gateway API, or a MeshPolicy, to a core object.
type reference struct{ FromKind, From, ToKind, To, Name string }

// notGranted says that no ReferenceGrant permits a reference, and which one nearly does. Of that only the
// field is told: what else is granted is nothing of who refers.
func (m *Mesh) notGranted(q *incr.Query, r reference, field string) Verdict {
	remedy := "add one there"
	if near := m.nearGrant(q, r); near != "" {
		remedy = near
	}
	return wrong(gwv1.RouteReasonRefNotPermitted, "%s: no ReferenceGrant in namespace %s lets %s of %s use %s %s: %s", field, r.To, plural(r.FromKind), r.From, r.ToKind, r.Name, remedy)
}

func plural(kind string) string {
	if kind == kindMeshPolicy {
		return "MeshPolicies"
	}
	return kind + "s"
}

// nearGrant tells of a ReferenceGrant that permits a reference but for one field, or but for where it is.
func (m *Mesh) nearGrant(q *incr.Query, r reference) string {
	for _, k := range m.GrantsIn.Get(q, r.To) {
		if g, ok := m.ReferenceGrants.Get(q, k); ok {
			if off := r.offBy(g); len(off) == 1 {
				return fmt.Sprintf("%s of ReferenceGrant %s says otherwise", off[0], k)
			}
		}
	}
	for _, k := range m.GrantsIn.Get(q, r.From) {
		if g, ok := m.ReferenceGrants.Get(q, k); ok && grantsFrom(g, r.FromKind, r.From) && grantsTo(g, r.ToKind, r.Name) {
			return fmt.Sprintf("ReferenceGrant %s is in the namespace of who refers: it must be in that of what is referred to", k)
		}
	}
	return ""
}

// offBy are the fields by which the best pair of a grant's from and to does not permit the reference.
func (r reference) offBy(g *gwv1.ReferenceGrant) (best []string) {
	best = []string{"spec.from", "spec.to"}
	for i, f := range g.Spec.From {
		for j, t := range g.Spec.To {
			var off []string
			differs := func(is bool, field string, args ...any) {
				if is {
					off = append(off, fmt.Sprintf(field, args...))
				}
			}
			differs(string(f.Group) != groupOf(r.FromKind), "spec.from[%d].group", i)
			differs(string(f.Kind) != r.FromKind, "spec.from[%d].kind", i)
			differs(string(f.Namespace) != r.From, "spec.from[%d].namespace", i)
			differs(t.Group != "", "spec.to[%d].group", j)
			differs(string(t.Kind) != r.ToKind, "spec.to[%d].kind", j)
			differs(t.Name != nil && *t.Name != "" && string(*t.Name) != r.Name, "spec.to[%d].name", j)
			if len(off) < len(best) {
				best = off
			}
		}
	}
	return best
}
