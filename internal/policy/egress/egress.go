// Package egress is the section egress: whether pods may call what the mesh does not know.
package egress

import (
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section only tightens: who says Deny is heeded at any level.
var Section = room.Section[v1alpha1.Egress]{
	Name:   "egress",
	Of:     func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.Egress { return spec.Egress },
	On:     []room.Kind{room.Mesh, room.Namespace, room.ServiceAccount, room.Pods},
	Shadow: true,
	Holds:  room.Tightest(strictness),
}

func strictness(s *v1alpha1.Egress) int {
	if s.Mode == v1alpha1.EgressAllow {
		return 0
	}
	return 1
}

// Mode is what holds, given what was decided: Allow where nothing is written.
func Mode(s *v1alpha1.Egress) v1alpha1.EgressMode {
	if s == nil {
		return v1alpha1.EgressAllow
	}
	return s.Mode
}
