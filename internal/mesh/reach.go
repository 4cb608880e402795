package mesh

import (
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// A MeshPolicy reaches the scopes of whose pods it selects some. Each pair of policy and scope is a
// key of its own: a scope that comes or goes leaves the others of a policy of the whole mesh alone.

// reachKey is a pair of a policy and a scope.
func reachKey(policy, scope string) string { return policy + "\x00" + scope }

// ParseReach takes a key of Reaches apart.
func ParseReach(k string) (policy, scope string) {
	policy, scope, _ = strings.Cut(k, "\x00")
	return policy, scope
}

// reaches are the pairs of a scope.
func (m *Mesh) reaches(q *incr.Query, scope string) (out []string) {
	for _, policy := range m.policiesUnder(q, scope) {
		out = append(out, reachKey(policy, scope))
	}
	return out
}

// Carriers are the resources that carry a policy to the proxies of a scope, by their key in Reaches.
func (m *Mesh) Carriers(q *incr.Query, k string) (out []Want) {
	policy, scope := ParseReach(k)
	p, ok := m.MeshPolicies.Get(q, policy)
	if !ok {
		return nil
	}
	if p.Spec.MTLS != nil || p.Spec.ServerTLS != nil {
		out = append(out, Want{scope, KindListener, InboundListener, scope}, Want{scope, KindListener, NodeInboundListener, scope})
	}
	if p.Spec.Egress != nil {
		out = append(out, Want{scope, KindListener, OutboundListener, m.outboundVariant(q, m.inbounds.Get(q, scope).workload)})
	}
	return out
}

// PolicyGeneration is that of a policy, by its key.
func (m *Mesh) PolicyGeneration(q *incr.Query, k string) int64 {
	if p, ok := m.MeshPolicies.Get(q, k); ok {
		return p.Generation
	}
	return 0
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
	for _, p := range m.selecting(q, w, 0) {
		out = append(out, p.key())
	}
	slices.Sort(out)
	return slices.Compact(out)
}
