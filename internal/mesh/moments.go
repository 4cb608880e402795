package mesh

import (
	"strings"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Sections that end by themselves do so at moments. Which of those that policies wait for have passed is an
// input, tables.Passed: only the owner of the graph has a clock.

// momentOf is the key of a moment; "" if there is none.
func momentOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// ParseMoment is the moment of a key of Moments.
func ParseMoment(key string) (time.Time, error) { return time.Parse(time.RFC3339Nano, key) }

// momentsOf are those at which sections of a policy end.
func momentsOf(p *v1alpha1.MeshPolicy) (out []string) {
	for _, r := range policy.All {
		if moment := momentOf(r.Until(&p.Spec)); moment != "" {
			out = append(out, moment)
		}
	}
	return out
}

// ended says whether a section of a policy has ended by itself.
func (m *Mesh) ended(q *incr.Query, r room.Room, p *v1alpha1.MeshPolicy) bool {
	moment := momentOf(r.Until(&p.Spec))
	if moment == "" {
		return false
	}
	_, passed := m.Passed.Get(q, moment)
	return passed
}

// ends are the sections of a policy that have ended by themselves, each with its moment.
func (m *Mesh) ends(q *incr.Query, p *v1alpha1.MeshPolicy) string {
	var out []string
	for _, r := range policy.All {
		if m.ended(q, r, p) {
			out = append(out, "spec."+r.Name+" ended at "+momentOf(r.Until(&p.Spec)))
		}
	}
	return strings.Join(out, ", ")
}
