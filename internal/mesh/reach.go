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
func (m *Mesh) carriers(*incr.Query, string) []Want { return nil }

// workloadsOf are the workloads that a policy selects, or of which it selects a port.
func (m *Mesh) workloadsOf(*incr.Query, string) []workload { return nil }

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
