package mesh

import (
	"reflect"
	"slices"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Sections that guard decide which requests may pass, by what all policies say that are about them (see
// room.Guarding). At a Gateway that is part of each Route; at the pods that are called it is one filter of all
// ports, a resource of its own, so that a change of it is in force for the next request and ends no connection.

// Guards is the name of that filter. Every sidecar has it, and sees a variant of its scope's own where some port
// is guarded.
const Guards = "guards"

// InboundGuards are what requests to the pods of a scope must pass.
type InboundGuards struct {
	Ports  []GuardedPort  // that Services declare, ordered; those that are guarded like the others are left out
	Others []room.Decided // of all other ports
	Law    *authz.Law     // of these; nil: nobody is told what is decided
}

// GuardedPort is one port of the pods.
type GuardedPort struct {
	Port int32
	By   []room.Decided // section by section, from the outer levels to the inner ones
	Law  *authz.Law     // the same
}

// Policies are the keys of those by which something is guarded, each once.
func (g InboundGuards) Policies() (out []string) {
	out = policyKeys(g.Others)
	for _, p := range g.Ports {
		out = append(out, policyKeys(p.By)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// InboundGuards are those of a scope; of "" those of all whose ports nothing guards. They are remembered: what a proxy
// needs for them is found by them too.
func (m *Mesh) InboundGuards(q *incr.Query, scope string) (out InboundGuards) {
	if scope == "" {
		return out
	}
	return m.guards.Get(q, scope)
}

func (m *Mesh) findGuards(q *incr.Query, scope string) (out InboundGuards) {
	in := m.inbounds.Get(q, scope)
	out.Others = m.guardsOfPort(q, in.workload, otherPorts)
	out.Law = m.lawOf(q, out.Others, in.workload.destination())
	for _, p := range in.Ports {
		if by := m.guardsOfPort(q, in.workload, p.Port); readable(p.Protocol) && !reflect.DeepEqual(by, out.Others) {
			out.Ports = append(out.Ports, GuardedPort{p.Port, by, m.lawOf(q, by, in.workload.destination())})
		}
	}
	return out
}

func (m *Mesh) guardsOfPort(q *incr.Query, w workload, port int32) []room.Decided {
	out := m.guarding(q, m.selecting(q, w, port), room.Service, w.destination())
	return slices.DeleteFunc(out, func(d room.Decided) bool { return m.spared(q, d.Section, d.Policy, w, port) })
}

// checked says whether each request to a port of a workload is checked by the policies that select it, so that what
// is none cannot be let in; ruled whether it is guarded by sections that know what to do with that too.
func (m *Mesh) checked(q *incr.Query, chosen []selected, w workload, port int32) (checked, ruled bool) {
	for _, p := range chosen {
		for _, r := range policy.All {
			if r.Guarded() && m.heldIn(q, p, r) && !m.spared(q, r.Name, p.key(), w, port) {
				checked, ruled = checked || r.Connect == nil, ruled || r.Connect != nil
			}
		}
	}
	return checked, ruled
}

// guardWants are what the sidecars of a scope see in place of what all see, and what it needs.
func (m *Mesh) guardWants(q *incr.Query, scope string, in Inbound) []string {
	if !in.Checked && !in.Ruled && !in.Tried && !slices.ContainsFunc(in.Ports, func(p InboundPort) bool { return p.Checked || p.Ruled || p.Tried }) {
		return nil
	}
	guards := m.InboundGuards(q, scope)
	said := slices.Clone(guards.Others)
	for _, p := range guards.Ports {
		said = append(said, p.By...)
	}
	out := append(referredWants(scope, []Rule{{Guards: said}}), checkWants(scope, OfSidecar, said)...)
	return append(out, Want{scope, KindExtension, Guards, scope}.Key())
}

// guarding is what policies say in sections that guard, section by section in the order of all, of policies in
// their precedence.
func (m *Mesh) guarding(q *incr.Query, found []selected, at room.Kind, called room.Destination) (out []room.Decided) {
	for _, r := range policy.All {
		if r.Guarded() {
			out = append(out, m.guardingBy(q, r, found, at, called)...)
			out = append(out, m.tryingBy(q, r, found, at, called)...)
		}
	}
	withClaims(out)
	return out
}

// guardingBy is what one section says.
func (m *Mesh) guardingBy(q *incr.Query, r room.Room, found []selected, at room.Kind, called room.Destination) []room.Decided {
	return m.saidBy(q, r, slices.DeleteFunc(slices.Clone(found), func(p selected) bool { return !m.heldIn(q, p, r) }), at, called)
}

// saidBy is what policies that have a section say in it, each once for a level.
func (m *Mesh) saidBy(q *incr.Query, r room.Room, found []selected, at room.Kind, called room.Destination) (out []room.Decided) {
	for _, p := range found {
		d := r.Decide([]room.Entry{{Policy: p.key(), Level: p.Level, Spec: &p.Spec}})
		d.Shadow = isShadow(p.MeshPolicy)
		d.Referents = m.referentsOf(q, r, d.Policy, at)
		d.Law = m.lawFor(q, r, d.Policy, called)
		if !slices.ContainsFunc(out, func(o room.Decided) bool { return o.Policy == d.Policy && o.Level == d.Level }) {
			out = append(out, d)
		}
	}
	return out
}

// guardProblem says what keeps a section that guards from meaning anything to a subject.
func (m *Mesh) guardProblem(q *incr.Query, r room.Room, s subject) Verdict {
	switch {
	case !m.mayComeByGateway(q, s):
		return wrong(reasonUnsupportedProtocol, "%s: spec.%s holds where requests come in, at Gateways and at the pods that are called, and %s is attached to Services alone, which callers could go around: name the Service", s.Field, r.Name, s)
	case r.Connect == nil && !m.carriesRequests(q, s):
		return wrong(reasonUnsupportedProtocol, "%s: spec.%s is about requests of HTTP or gRPC, and %s carries none: name another target, or declare the port's protocol by its appProtocol or name", s.Field, r.Name, s)
	}
	return Verdict{}
}

// aroundGuards says that requests come to a route by a Service too, where a section that guards does not hold for
// the route.
func (m *Mesh) aroundGuards(q *incr.Query, p *v1alpha1.MeshPolicy, s subject) (out []Verdict) {
	if !ofRoutes(s) {
		return nil
	}
	for _, a := range m.attached.Get(q, routeKey(string(s.Kind), key(s.Namespace, s.Name))) {
		for _, r := range policy.All {
			if a.Service != "" && len(a.Ports) > 0 && r.Guarded() && r.Has(&p.Spec) {
				out = append(out, wrong(reasonUnsupportedProtocol, "%s: spec.%s holds for what comes to %s by Gateways, and not for what pods send to Service %s, to which it is attached too: name that in a policy", s.Field, r.Name, s, a.Service))
			}
		}
	}
	return out
}
