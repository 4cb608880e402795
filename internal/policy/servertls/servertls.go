// Package servertls is the section serverTLS: whose public TLS the sidecars behind a Service's port end.
package servertls

import (
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section is about ports of Services. The innermost policy holds: two certificates for one name
// cannot both be shown.
var Section = room.Section[v1alpha1.ServerTLS]{
	Name:  "serverTLS",
	Of:    func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.ServerTLS { return spec.ServerTLS },
	On:    []room.Kind{room.Service},
	Holds: room.Innermost[v1alpha1.ServerTLS],
}

// Opens says whether what was decided lets clients in: a port that nothing guards is opened only
// where that is accepted in so many words.
func Opens(s *v1alpha1.ServerTLS) bool { return s != nil && s.Unguarded == v1alpha1.UnguardedAccept }
