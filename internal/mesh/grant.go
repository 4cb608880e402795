package mesh

import (
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// granted says whether a ReferenceGrant in namespace to lets objects of kind fromKind (of Gateway
// API's group) in namespace from refer to a core object there.
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
		if f.Group == gwv1.GroupName && string(f.Kind) == kind && string(f.Namespace) == namespace {
			return true
		}
	}
	return false
}

func grantsTo(g *gwv1.ReferenceGrant, kind, name string) bool {
	for _, t := range g.Spec.To {
		if t.Group == "" && string(t.Kind) == kind && (t.Name == nil || *t.Name == "" || string(*t.Name) == name) {
			return true
		}
	}
	return false
}
