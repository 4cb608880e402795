package mesh

import (
	"strings"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Apart is a filter of one policy that is a resource of its own, which the Routes for which the policy holds enter:
// each proxy gets it once, and a refused one harms no other policy.
type Apart struct {
	Name    string // policy/<section>/<Service or Gateway>/<namespace>/<policy>
	Decided room.Decided
	// Awaited says that something that it is made of is not there yet: proxies keep what they have.
	Awaited bool
}

const apartPrefix = "policy/"

func apartName(section string, kind room.Kind, policy string) string {
	return apartPrefix + section + "/" + string(kind) + "/" + policy
}

// IsApart says whether an extension is an Apart, by its name.
func IsApart(name string) bool { return strings.HasPrefix(name, apartPrefix) }

// Apart is the Apart of a name; false if there is none.
func (m *Mesh) Apart(q *incr.Query, name string) (out Apart, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(name, apartPrefix), "/", 3)
	r, known := policy.ByName(parts[0])
	if !known || len(parts) < 3 {
		return out, false
	}
	p, ok := m.MeshPolicies.Get(q, parts[2])
	if !ok || !r.Has(&p.Spec) {
		return out, false
	}
	out = Apart{Name: name, Decided: r.Decide([]room.Entry{{Policy: parts[2], Spec: &p.Spec}})}
	out.Decided.Referents = m.referentsOf(q, r, parts[2], room.Kind(parts[1]))
	for _, found := range out.Decided.Referents {
		out.Awaited = out.Awaited || found.Awaited
	}
	return out, r.IsApart(out.Decided)
}

// apartAt are the filters of policies that may be about what comes in by a RouteConfiguration.
func (m *Mesh) apartAt(q *incr.Query, routes string) (out []Apart) {
	kind := entranceAt(routes).kind
	for _, r := range policy.All {
		if r.Apart == nil {
			continue
		}
		for _, d := range m.sharing(q, r, routes) {
			if r.IsApart(d) {
				out = append(out, Apart{Name: apartName(r.Name, kind, d.Policy), Decided: d})
			}
		}
	}
	return out
}

// modulesOf are the keys of what the sections of a policy have fetched.
func modulesOf(p *v1alpha1.MeshPolicy) (out []string) {
	for _, r := range policy.All {
		for _, ref := range r.Refers(&p.Spec) {
			if ref.Remote.URL != "" && !ref.Own() {
				out = append(out, ref.Remote.Key())
			}
		}
	}
	return out
}
