package mesh

import (
	"slices"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// RuledPorts are ports of pods at which the same is said of connections that carry no HTTP.
type RuledPorts struct {
	Ports []int32 // nil: all others
	// Let is true, as an expression of CEL, of the connections that may pass.
	Let string
}

// ruled are the ports at which policies rule connections and about which the filter of a name is: those that are
// declared to carry bytes, or all others but those of requests.
func (in Inbound) ruled(name string) []int32 {
	return in.bytesAt(name, func(p InboundPort) bool { return p.Ruled })
}

func (in Inbound) bytesAt(name string, which func(InboundPort) bool) (out []int32) {
	for _, p := range in.Ports {
		if which(p) && (name == AccessBytes && !readable(p.Protocol) || name == AccessUndeclared && p.Protocol == Undeclared) {
			out = append(out, p.Port)
		}
	}
	return out
}

// ruledPorts are what is said at these ports, and by which policies. At the others nothing is, or what is said of all
// that no Service declares.
func (m *Mesh) ruledPorts(q *incr.Query, in Inbound, name string) (out []RuledPorts, policies []string) {
	for _, port := range in.ruled(name) {
		let, by := m.connections(q, in.workload, port)
		policies = append(policies, by...)
		at := slices.IndexFunc(out, func(r RuledPorts) bool { return r.Let == let })
		if at < 0 {
			at, out = len(out), append(out, RuledPorts{Let: let})
		}
		out[at].Ports = append(out[at].Ports, port)
	}
	if name == AccessUndeclared && in.Ruled {
		let, by := m.connections(q, in.workload, otherPorts)
		out, policies = append(out, RuledPorts{Let: let}), append(policies, by...)
	}
	slices.Sort(policies)
	return out, slices.Compact(policies)
}

// connections says who may connect to a port of a workload without HTTP, and by which policies; "": all.
func (m *Mesh) connections(q *incr.Query, w workload, port int32) (let string, policies []string) {
	said := m.guardsOfPort(q, w, port)
	for _, r := range policy.All {
		own := slices.DeleteFunc(slices.Clone(said), func(d room.Decided) bool { return d.Section != r.Name || d.Shadow })
		if r.Connect == nil || len(own) == 0 {
			continue
		}
		if let != "" {
			let += " && "
		}
		let += "(" + r.Connect(own) + ")"
		policies = append(policies, policyKeys(own)...)
	}
	return let, policies
}
