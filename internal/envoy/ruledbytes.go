package envoy

import (
	"fmt"
	"strconv"
	"strings"

	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"

	"github.com/weft-mesh/weft/internal/mesh"
)

// byPolicies is how what is let in by MeshPolicies alone is called.
const byPolicies = "authorization"

// maxRuled is how long what policies say may be: Envoy reads no expression of more than 100,000 characters. Where
// they say more nobody is let in.
const maxRuled = 30_000

// refused keeps a connection from the app, from its beginning on: all of them or, where policies alone are about
// some ports, those to these.
func refused(a mesh.Access) []*filterstatev3.FilterStateValue {
	if a.Guarded {
		return []*filterstatev3.FilterStateValue{state(policyState, nobody), state(verdictState, denied), state(addressState, nowhereToGo)}
	}
	at := ruledAt(a.Ruled)
	return []*filterstatev3.FilterStateValue{
		onlyIf(at, policyState, nobody), onlyIf(at, verdictState, denied), onlyIf(at, addressState, nowhereToGo),
	}
}

// onlyIf sets a state where an expression is true, and else leaves it.
func onlyIf(when, key, text string) *filterstatev3.FilterStateValue {
	out := state(key, fmt.Sprintf("%%CEL(%s ? '%s' : '')%%", when, text))
	out.SkipIfEmpty = true
	return out
}

// ruledAt is true of connections to ports that policies are about.
func ruledAt(ruled []mesh.RuledPorts) string {
	var all []string
	for _, r := range ruled {
		if r.Ports == nil {
			return "true"
		}
		all = append(all, toPorts(r.Ports))
	}
	return strings.Join(all, " || ")
}

// ruledWay is what must hold beside what TrafficTargets say.
func ruledWay(a mesh.Access, w way) way {
	if len(a.Ruled) > 0 {
		w.open = fmt.Sprintf("%s && (%s) && (%s)", oneMember(a.TrustDomain), lets(a.Ruled), w.open)
	}
	return w
}

// lets is true of the connections that policies let in at the port that they are for.
func lets(ruled []mesh.RuledPorts) string {
	var any, known []string
	others := "true"
	for _, r := range ruled {
		if r.Ports == nil {
			others = r.Let
			continue
		}
		known = append(known, toPorts(r.Ports))
		any = append(any, fmt.Sprintf("%s && (%s)", toPorts(r.Ports), r.Let))
	}
	if len(known) > 0 {
		others = fmt.Sprintf("!(%s) && (%s)", strings.Join(known, " || "), others)
	}
	text := strings.Join(append(any, others), " || ")
	if len(text) > maxRuled {
		return "false"
	}
	return text
}

// toPorts is true of connections to one of some ports.
func toPorts(ports []int32) string {
	var all []string
	for _, p := range ports {
		all = append(all, strconv.Itoa(int(p)))
	}
	return "destination.port in [" + strings.Join(all, ", ") + "]"
}
