package mesh

import (
	"reflect"
	"slices"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// What policies in Shadow say in sections that guard is tried out where it would hold:
//
//	policies in Shadow → beside what is enforced → filters that find out what would be refused, in the same resources
//
// so that neither a listener nor a connection knows of it.

// TriedPorts are ports of pods at which the same would be refused of connections that carry no HTTP.
type TriedPorts struct {
	Ports           []int32 // nil: all others
	Section, Policy string  // of what is tried, the first
	Would           []room.Refusal
}

// triedIn says whether what a policy in Shadow says in a section is to be tried out where it is about something.
func (m *Mesh) triedIn(q *incr.Query, p selected, r room.Room) bool {
	return isShadow(p.MeshPolicy) && r.Try != nil && r.Has(&p.Spec) && r.About(p.on.Kind) && m.sectionProblem(q, r, p.MeshPolicy, p.on).OK()
}

// tryingBy is what policies in Shadow say in one section.
func (m *Mesh) tryingBy(q *incr.Query, r room.Room, found []selected, at room.Kind, called room.Destination) []room.Decided {
	return m.saidBy(q, r, slices.DeleteFunc(slices.Clone(found), func(p selected) bool { return !m.triedIn(q, p, r) }), at, called)
}

// tried says whether of the policies that select a port of a workload some in Shadow are tried out there.
func (m *Mesh) tried(q *incr.Query, chosen []selected) bool {
	return slices.ContainsFunc(chosen, func(p selected) bool {
		return slices.ContainsFunc(policy.All, func(r room.Room) bool { return m.triedIn(q, p, r) })
	})
}

// triesBytes says whether the filter of a name has something to try out.
func (in Inbound) triesBytes(name string) bool {
	return in.Tried && name == AccessUndeclared || len(in.bytesAt(name, func(p InboundPort) bool { return p.Tried })) > 0
}

// triedPorts are what would be refused at the ports about which the filter of a name is, and by which policies; at the
// others nothing would be, or what would be of all that no Service declares.
func (m *Mesh) triedPorts(q *incr.Query, in Inbound, name string) (out []TriedPorts, policies []string) {
	for _, port := range in.bytesAt(name, func(p InboundPort) bool { return p.Tried }) {
		would, by := m.refusals(q, in.workload, port, name)
		policies = append(policies, by...)
		at := slices.IndexFunc(out, func(t TriedPorts) bool {
			return t.Section == would.Section && t.Policy == would.Policy && reflect.DeepEqual(t.Would, would.Would)
		})
		switch {
		case would.Policy == "":
		case at < 0:
			would.Ports = []int32{port}
			out = append(out, would)
		default:
			out[at].Ports = append(out[at].Ports, port)
		}
	}
	if name == AccessUndeclared && in.Tried {
		would, by := m.refusals(q, in.workload, otherPorts, name)
		out, policies = append(out, would), append(policies, by...)
	}
	return out, policies
}

// refusals are why connections to a port of a workload would be refused, and the policies that would have a say. A
// section about requests has none where a port is declared to carry bytes.
func (m *Mesh) refusals(q *incr.Query, w workload, port int32, name string) (out TriedPorts, policies []string) {
	said := m.guardsOfPort(q, w, port)
	for _, r := range policy.All {
		own := slices.DeleteFunc(slices.Clone(said), func(d room.Decided) bool { return d.Section != r.Name })
		tried := slices.DeleteFunc(slices.Clone(own), func(d room.Decided) bool { return !d.Shadow })
		if len(tried) == 0 || r.Connect == nil && name == AccessBytes {
			continue
		}
		if out.Policy == "" {
			out.Section, out.Policy = r.Name, tried[0].Policy
		}
		out.Would = append(out.Would, r.TryConnect(own)...)
		policies = append(policies, policyKeys(tried)...)
	}
	return out, policies
}

func sortedOnce(keys []string) []string {
	slices.Sort(keys)
	return slices.Compact(keys)
}
