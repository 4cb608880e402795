// Package mtls is the section mtls: whether the ports of pods in the mesh accept plaintext.
package mtls

import (
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section only tightens: who says Strict is heeded at any level.
var Section = room.Section[v1alpha1.MTLS]{
	Name:   "mtls",
	Of:     func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.MTLS { return spec.MTLS },
	On:     []room.Kind{room.Mesh, room.Namespace, room.ServiceAccount, room.Pods, room.Service},
	Shadow: true,
	Holds:  room.Tightest(strictness),
}

func strictness(s *v1alpha1.MTLS) int {
	if s.Mode == v1alpha1.MTLSPermissive {
		return 0
	}
	return 1
}

// Mode is what holds, given what was decided: Strict where nothing is written.
func Mode(s *v1alpha1.MTLS) v1alpha1.MTLSMode {
	if s == nil {
		return v1alpha1.MTLSStrict
	}
	return s.Mode
}
