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

// ruledPorts are those of the pods of a scope about which the filter of a name is: ports that are declared to carry
// bytes, or all others.
func (m *Mesh) ruledPorts(q *incr.Query, in Inbound, name string) (out []RuledPorts, policies []string) {
	add := func(port int32, ports ...int32) {
		let, by := m.connections(q, in.workload, port)
		policies = append(policies, by...)
		at := slices.IndexFunc(out, func(r RuledPorts) bool { return r.Let == let && r.Ports != nil })
		switch {
		case let == "" && ports == nil:
		case at >= 0 && ports != nil:
			out[at].Ports = append(out[at].Ports, ports...)
		default:
			out = append(out, RuledPorts{ports, let})
		}
	}
	for _, p := range in.Ports {
		if bytes := !readable(p.Protocol); bytes == (name == AccessBytes) && !p.Protocol.HTTP() {
			add(p.Port, p.Port)
		}
	}
	if name == AccessUndeclared {
		add(otherPorts)
	}
	slices.Sort(policies)
	return out, slices.Compact(policies)
}

// connections says who may connect to a port of a workload without HTTP, and by which policies; "": all.
func (m *Mesh) connections(q *incr.Query, w workload, port int32) (let string, policies []string) {
	said := m.guardsOfPort(q, w, port)
	for _, r := range policy.All {
		own := slices.DeleteFunc(slices.Clone(said), func(d room.Decided) bool { return d.Section != r.Name })
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
