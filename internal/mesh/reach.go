package mesh

import (
	"slices"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Reach is how far a MeshPolicy reaches: what must be acknowledged of one generation of it.
type Reach struct {
	Generation int64
	// Wants are the resources that carry the policy, for each scope of proxies that it reaches.
	Wants []Want
}

// Reach is a policy's, by its key.
func (m *Mesh) Reach(q *incr.Query, k string) Reach {
	p, ok := m.MeshPolicies.Get(q, k)
	if !ok {
		return Reach{}
	}
	return Reach{p.Generation, m.carriers(q, k)}
}

// carriers are the resources that carry a policy, for each scope that has pods which it selects.
func (m *Mesh) carriers(q *incr.Query, k string) (out []Want) {
	p, ok := m.MeshPolicies.Get(q, k)
	if !ok {
		return nil
	}
	for _, scope := range m.scopesUnder.Get(q, k) {
		if p.Spec.MTLS != nil || p.Spec.ServerTLS != nil {
			out = append(out, Want{scope, KindListener, InboundListener, scope}, Want{scope, KindListener, NodeInboundListener, scope})
		}
		if p.Spec.Egress != nil {
			out = append(out, Want{scope, KindListener, OutboundListener, string(m.egress(q, m.inbounds.Get(q, scope).workload))})
		}
	}
	return out
}

// workloadsOf are the workloads that a policy selects, or of which it selects a port.
func (m *Mesh) workloadsOf(q *incr.Query, k string) (out []workload) {
	for _, scope := range m.scopesUnder.Get(q, k) {
		out = append(out, m.inbounds.Get(q, scope).workload)
	}
	return out
}

// policiesUnder are the policies that select the pods of a scope.
func (m *Mesh) policiesUnder(q *incr.Query, scope string) []string {
	in := m.inbounds.Get(q, scope)
	if in.Namespace == "" {
		return nil
	}
	return m.policiesOf(q, in.workload)
}

// anyKind are the kinds that some section may be about.
var anyKind = func() (kinds []room.Kind) {
	for _, r := range policy.All {
		kinds = append(kinds, r.On...)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}()

// policiesOf are the keys of the policies that select a workload, or one of its ports.
func (m *Mesh) policiesOf(q *incr.Query, w workload) []string {
	var out []string
	for _, p := range m.selecting(q, w, 0, anyKind) {
		out = append(out, p.key())
	}
	slices.Sort(out)
	return slices.Compact(out)
}
