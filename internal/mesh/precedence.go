package mesh

import (
	"slices"

	"github.com/weft-mesh/weft/api/v1alpha1"
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

// decide is what those of the policies that select a port of a workload, or its pods, that are of some modes say in
// a section; the zero value if none says anything.
func decide[S any](in room.Section[S], chosen []selected, modes []v1alpha1.PolicyMode) room.Written[S] {
	var written []room.Written[S]
	for _, p := range chosen {
		if says := in.Of(&p.Spec); says != nil && slices.Contains(in.On, p.on.Kind) && slices.Contains(modes, p.Spec.Mode) {
			written = append(written, room.Written[S]{Policy: p.key(), Level: p.Level, Says: says})
		}
	}
	return in.Decide(written)
}

// mtlsMode is that of one port (of the pods, not of a Service) of a workload.
func mtlsMode(chosen []selected) MTLSMode {
	return mtls.Mode(decide(mtls.Section, chosen, enforced).Says)
}

// shadowMTLS is the policy by which a port of a workload would refuse the plaintext that it accepts, if
// those in Shadow were enforced; "" if none would have it do so.
func shadowMTLS(chosen []selected) string {
	would := decide(mtls.Section, chosen, proposed)
	if mtlsMode(chosen) == MTLSPermissive && mtls.Mode(would.Says) == MTLSStrict {
		return would.Policy
	}
	return ""
}

// egressMode is that of a workload.
func egressMode(chosen []selected) EgressMode {
	return egress.Mode(decide(egress.Section, chosen, enforced).Says)
}

// shadowEgress is the policy by which a workload could not call the unknown destinations that it may
// call, if those in Shadow were enforced; "" if none would have it so.
func shadowEgress(chosen []selected) string {
	would := decide(egress.Section, chosen, proposed)
	if egressMode(chosen) == EgressAllow && egress.Mode(would.Says) == EgressDeny {
		return would.Policy
	}
	return ""
}
