package mesh

import (
	"slices"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/egress"
	"github.com/weft-mesh/weft/internal/policy/mtls"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// MTLSMode says what a port of a workload accepts.
type MTLSMode = v1alpha1.MTLSMode

// The modes. Strict is the default.
const (
	MTLSStrict     = v1alpha1.MTLSStrict     // mTLS only
	MTLSPermissive = v1alpha1.MTLSPermissive // plaintext too
)

// EgressMode says what becomes of connections to destinations that the mesh does not know.
type EgressMode = v1alpha1.EgressMode

// The modes. Allow is the default.
const (
	EgressAllow = v1alpha1.EgressAllow
	EgressDeny  = v1alpha1.EgressDeny
)

var (
	enforced = []v1alpha1.PolicyMode{v1alpha1.PolicyEnforce, ""}
	proposed = []v1alpha1.PolicyMode{v1alpha1.PolicyEnforce, "", v1alpha1.PolicyShadow}
)

// otherPorts stands for the ports of a workload that no Service leads to.
const otherPorts = -1

// decide is what policies of some modes say of a workload's port, or with port 0 of its pods, in a
// section; the zero value if none says anything.
func decide[S any](m *Mesh, q *incr.Query, in room.Section[S], w workload, port int32, modes []v1alpha1.PolicyMode) room.Written[S] {
	var written []room.Written[S]
	for _, p := range m.selecting(q, w, port, in.On) {
		if says := in.Of(&p.Spec); says != nil && slices.Contains(modes, p.Spec.Mode) {
			written = append(written, room.Written[S]{Policy: p.key(), Level: p.Level, Says: says})
		}
	}
	return in.Decide(written)
}

// mtls is the mode of one port (of the pods, not of a Service) of a workload.
func (m *Mesh) mtls(q *incr.Query, w workload, port int32) MTLSMode {
	return mtls.Mode(decide(m, q, mtls.Section, w, port, enforced).Says)
}

// shadowMTLS is the policy by which a port of a workload would refuse the plaintext that it accepts, if
// those in Shadow were enforced; "" if none would have it do so.
func (m *Mesh) shadowMTLS(q *incr.Query, w workload, port int32) string {
	would := decide(m, q, mtls.Section, w, port, proposed)
	if m.mtls(q, w, port) == MTLSPermissive && mtls.Mode(would.Says) == MTLSStrict {
		return would.Policy
	}
	return ""
}

// egress is the mode of a workload.
func (m *Mesh) egress(q *incr.Query, w workload) EgressMode {
	return egress.Mode(decide(m, q, egress.Section, w, 0, enforced).Says)
}

// shadowEgress is the policy by which a workload could not call the unknown destinations that it may
// call, if those in Shadow were enforced; "" if none would have it so.
func (m *Mesh) shadowEgress(q *incr.Query, w workload) string {
	would := decide(m, q, egress.Section, w, 0, proposed)
	if m.egress(q, w) == EgressAllow && egress.Mode(would.Says) == EgressDeny {
		return would.Policy
	}
	return ""
}
