package mesh

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// contest tells what becomes of a policy among those of its mode that are about the same subject, about
// all of it, or about pods of it: whether another's word holds instead, and who of the same level says
// something else.
func (m *Mesh) contest(q *incr.Query, p *v1alpha1.MeshPolicy, s subject) (lost, contested Verdict) {
	rooms := m.contestedBy(q, p)
	if len(rooms) == 0 {
		return lost, contested
	}
	sets := [][]selected{m.rivals(q, p, s)}
	if s.level() > room.AtNamespace { // what is about all of a namespace or the mesh is known without its pods
		for _, scope := range m.scopesUnder.Get(q, key(p.Namespace, p.Name)) {
			chosen := func(port int32) []selected { return m.chosen.Get(q, chosenKey(scope, port)) }
			sets = append(sets, m.rivalsFor(q, p, s, m.inbounds.Get(q, scope).workload, chosen)...)
		}
	}
	var losses, conflicts []Verdict
	for _, rivals := range sets {
		for _, r := range rooms {
			decided := contestIn
			if r.Guarded() {
				decided = clashIn
			}
			l, c := decided(r, m.running(q, r, rivals), p, s)
			if torn := m.collideIn(q, r, rivals, p, s); !torn.OK() {
				l, c = first(l, torn), join([]Verdict{c, torn})
			}
			losses, conflicts = append(losses, l), append(conflicts, c)
		}
	}
	return join(losses), join(conflicts)
}

// contestedBy are the sections of a policy in which others may say something that cannot hold beside it.
func (m *Mesh) contestedBy(q *incr.Query, p *v1alpha1.MeshPolicy) (out []room.Room) {
	for _, r := range policy.All {
		if r.Has(&p.Spec) && !m.ended(q, r, p) && (!r.Guarded() || r.Clash != nil) {
			out = append(out, r)
		}
	}
	return out
}

// running are the policies whose section, if they have it, has not ended by itself.
func (m *Mesh) running(q *incr.Query, r room.Room, all []selected) []selected {
	return slices.DeleteFunc(slices.Clone(all), func(o selected) bool { return m.ended(q, r, o.MeshPolicy) })
}

// rivals are a policy and the others of its mode whose subjects contain s, in their precedence.
func (m *Mesh) rivals(q *incr.Query, p *v1alpha1.MeshPolicy, s subject) []selected {
	groups := []string{meshGroup, group(room.Namespace, s.Namespace, ""), s.group()}
	slices.Sort(groups)
	all := m.about(q, slices.Compact(groups), func(o subject) bool { return m.containing(q, o, s) })
	return slices.DeleteFunc(all, func(o selected) bool { return isShadow(o.MeshPolicy) != isShadow(p) })
}

// rivalsFor are, for each port of a workload that s is about, or once where that is any, a policy and
// the others of its mode and of no inner level that are about it too.
func (m *Mesh) rivalsFor(q *incr.Query, p *v1alpha1.MeshPolicy, s subject, w workload, chosen func(port int32) []selected) (sets [][]selected) {
	if !slices.Contains(w.groups(s.Kind), s.group()) || !m.selects(q, s, w, 0) {
		return nil
	}
	ports := []int32{0}
	if s.Kind == room.Service {
		ports = m.podPorts(q, s, w)
	}
	for _, port := range ports {
		sets = append(sets, slices.DeleteFunc(slices.Clone(chosen(port)), func(o selected) bool {
			return isShadow(o.MeshPolicy) != isShadow(p) || o.Level > s.level()
		}))
	}
	return sets
}

func isShadow(p *v1alpha1.MeshPolicy) bool { return p.Spec.Mode == v1alpha1.PolicyShadow }

// containing says whether o, of a group that s can be in, is s or contains it.
func (m *Mesh) containing(q *incr.Query, o, s subject) bool {
	switch {
	case o.Kind == room.Pods:
		return reflect.DeepEqual(o.Selector, s.Selector)
	case !o.part():
		return true
	case o.Kind == room.Service:
		return s.part() && m.subjectPort(q, o) == m.subjectPort(q, s)
	}
	return o.Part == s.Part
}

// subjectPort is the number of a Service's port that a subject is; 0 if there is none.
func (m *Mesh) subjectPort(q *incr.Query, s subject) int32 {
	if svc, ok := m.Services.Get(q, key(s.Namespace, s.Name)); ok {
		if i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return s.names(p) }); i >= 0 {
			return svc.Spec.Ports[i].Port
		}
	}
	return 0
}

// clashIn is contest in a section that guards, where all of one level hold beside each other as far as they can.
func clashIn(r room.Room, rivals []selected, p *v1alpha1.MeshPolicy, s subject) (lost, contested Verdict) {
	own := slices.IndexFunc(rivals, func(o selected) bool { return o.key() == key(p.Namespace, p.Name) && o.Level == s.level() })
	for i, o := range rivals {
		older, newer, holds := &o.Spec, &p.Spec, o.key()
		if i > own {
			older, newer, holds = newer, older, key(p.Namespace, p.Name)
		}
		if o.key() == key(p.Namespace, p.Name) || o.Level != s.level() || !r.Has(&o.Spec) {
			continue
		}
		field := r.Clash(older, newer)
		if field == "" {
			continue
		}
		contested = wrong(gwv1.PolicyReasonConflicted, "spec.%s%s: MeshPolicy %s says something else of it about %s, and what %s says holds: make them agree, or put both into one", r.Name, field, o.key(), s, holds)
		if i < own {
			return contested, contested
		}
	}
	return Verdict{}, contested
}

// collideIn tells of what nobody can be let in by, for two policies of one level say otherwise whose it is.
func (m *Mesh) collideIn(q *incr.Query, r room.Room, rivals []selected, p *v1alpha1.MeshPolicy, s subject) Verdict {
	if r.Collide == nil {
		return Verdict{}
	}
	own := m.referentsOf(q, r, key(p.Namespace, p.Name), room.Service)
	var torn []Verdict
	for _, o := range rivals {
		if o.key() == key(p.Namespace, p.Name) || o.Level != s.level() || !r.Has(&o.Spec) || r.Clash(&o.Spec, &p.Spec) != "" {
			continue
		}
		if problem := r.Collide(own, m.referentsOf(q, r, o.key(), room.Service)); problem != "" {
			torn = append(torn, wrong(gwv1.PolicyReasonConflicted, "spec.%s: MeshPolicy %s, which is about %s too, %s", r.Name, o.key(), s, problem))
		}
	}
	return join(torn)
}

// contestIn is contest in one section. rivals have the policy itself among them.
func contestIn(r room.Room, rivals []selected, p *v1alpha1.MeshPolicy, s subject) (lost, contested Verdict) {
	var entries []room.Entry
	for _, o := range rivals {
		if r.Has(&o.Spec) {
			entries = append(entries, room.Entry{Policy: o.key(), Level: o.Level, Spec: &o.Spec})
		}
	}
	holds, others := r.Contest(entries)
	own := slices.IndexFunc(entries, func(e room.Entry) bool { return e.Policy == key(p.Namespace, p.Name) && e.Level == s.level() })
	var peers []string // of the same level, and of another opinion than p
	for i, e := range entries {
		if e.Level == s.level() && others[i] != others[own] && !slices.Contains(peers, e.Policy) {
			peers = append(peers, e.Policy)
		}
	}
	winner := entries[holds]
	if len(peers) > 0 {
		contested = wrong(gwv1.PolicyReasonConflicted, "spec.%s: MeshPolicy %s says something else of %s, and what %s says holds: make them agree, or remove one", r.Name, strings.Join(peers, ", "), s, winner.Policy)
	}
	switch {
	case !others[own]:
		return Verdict{}, contested
	case winner.Level == s.level():
		return contested, contested
	case winner.Level < s.level():
		return wrong(reasonOverridden, "spec.%s: MeshPolicy %s, of an outer level, demands more of %s, which an inner policy cannot loosen: change that one, or remove this", r.Name, winner.Policy, s), contested
	}
	return Verdict{}, contested
}
