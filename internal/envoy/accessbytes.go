package envoy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	netstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/smi"
)

// What is found out of a connection: who calls, by all names of the certificate; which Allow lets the caller
// in, or none; and what follows of that, by which the cluster that leads to the app goes.
const (
	callerState  = "weft.caller"
	firstState   = "weft.caller.first"
	policyState  = "weft.policy"
	verdictState = "weft.verdict"
	addressState = "envoy.network.transport_socket.original_dst_address"

	nobody          = "none" // as a policy
	allowed, denied = "allowed", "denied"
	nowhereToGo     = "255.255.255.255:1" // no connection is made there
)

// onlyNameOfBytes is onlyName for what may go on before the caller's first byte: an app that speaks first is
// not connected to. A caller has one name if the first is all of them.
func onlyNameOfBytes(trustDomain string) *listenerv3.Filter {
	member := oneMember(trustDomain)
	return filterNamed("envoy.filters.network.set_filter_state", &netstatev3.Config{
		OnNewConnection: []*filterstatev3.FilterStateValue{state(addressState, nowhereToGo)},
		OnDownstreamTlsHandshake: []*filterstatev3.FilterStateValue{
			state(callerState, "%DOWNSTREAM_PEER_URI_SAN%"),
			state(firstState, "%CEL(connection.uri_san_peer_certificate)%"),
			state(addressState, fmt.Sprintf("%%CEL(%s ? destination.address : '%s')%%", member, nowhereToGo)),
		},
	})
}

// oneMember is true of callers that have one name, which is one of the mesh.
func oneMember(trustDomain string) string {
	return fmt.Sprintf("filter_state['%s'] == filter_state['%s'] && connection.uri_san_peer_certificate.matches(r'^%s$')",
		firstState, callerState, memberID(trustDomain))
}

// accessOfBytes refuses a connection from its beginning, which a handshake alone may change: then it is known
// who calls, and the app has not heard of it yet. Envoy's RBAC filter for connections would wait for the
// caller's first byte, and until then give it what the app sends; and which cluster it is is settled before.
func accessOfBytes(a mesh.Access) *netstatev3.Config {
	out := enforcedOfBytes(a)
	out.OnDownstreamTlsHandshake = append(out.OnDownstreamTlsHandshake, triedOfBytes(a.Tried)...)
	return out
}

func enforcedOfBytes(a mesh.Access) *netstatev3.Config {
	if !a.Guarded && len(a.Ruled) == 0 {
		return &netstatev3.Config{}
	}
	ways := waysIn(a)
	return &netstatev3.Config{
		OnNewConnection: refused(a),
		OnDownstreamTlsHandshake: []*filterstatev3.FilterStateValue{
			state(callerState, "%DOWNSTREAM_PEER_URI_SAN%"),
			state(policyState, policyOf(ways)),
			state(verdictState, decided(ways, "'"+allowed+"'", "'"+denied+"'")),
			state(addressState, decided(ways, "destination.address", "'"+nowhereToGo+"'")),
		},
	}
}

// way is an expression of CEL that is true of who may come in by it.
type way struct{ name, open string }

func waysIn(a mesh.Access) (out []way) {
	if !a.Guarded {
		return []way{ruledWay(a, way{byPolicies, "true"})}
	}
	for _, allow := range a.Allows {
		if allow.Traffic == smi.Bytes || allow.Traffic == smi.DeclaredBytes && a.Name == mesh.AccessBytes {
			out = append(out, ruledWay(a, way{allow.Name, letsIn(allow, a.TrustDomain)}))
		}
	}
	return out
}

// decided is a format for one thing if any way is open, and another if none is. What cannot be evaluated is
// neither, and no address: the one from the beginning stays.
func decided(ways []way, open, shut string) string {
	if len(ways) == 0 {
		return "%CEL(" + shut + ")%"
	}
	return fmt.Sprintf("%%CEL(%s ? %s : %s)%%", anyOf(ways), open, shut)
}

func anyOf(ways []way) string {
	var open []string
	for _, w := range ways {
		open = append(open, w.open)
	}
	return strings.Join(open, " || ")
}

// maxNamed is how many ways are told by their names: Envoy reads no expression that is 32 deep.
const maxNamed = 20

// another is one of the others.
const another = "another"

// policyOf is a format for the name of the first way that is open.
func policyOf(ways []way) string {
	name := "'" + nobody + "'"
	if len(ways) > maxNamed {
		name = fmt.Sprintf("%s ? '%s' : %s", anyOf(ways[maxNamed:]), another, name)
		ways = ways[:maxNamed]
	}
	for _, w := range slices.Backward(ways) {
		name = fmt.Sprintf("%s ? '%s' : %s", w.open, w.name, name)
	}
	return "%CEL(" + name + ")%"
}

// letsIn is true of who may. What is in the filter state is bytes to CEL, and equal to no string.
func letsIn(allow smi.Allow, trustDomain string) string {
	var callers, ports []string
	for _, account := range allow.Sources {
		callers = append(callers, "b'"+peerID(trustDomain, account)+"'")
	}
	for _, port := range allow.Ports {
		ports = append(ports, strconv.Itoa(int(port)))
	}
	in := fmt.Sprintf("filter_state['%s'] in [%s]", callerState, strings.Join(callers, ", "))
	if len(ports) > 0 {
		in += fmt.Sprintf(" && destination.port in [%s]", strings.Join(ports, ", "))
	}
	return in
}

// state is one that is set by a format; an address is one of Envoy's own.
func state(key, format string) *filterstatev3.FilterStateValue {
	out := &filterstatev3.FilterStateValue{
		Key: &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: key},
		Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: format},
			}},
		}},
	}
	if key != addressState {
		out.FactoryKey = "envoy.string"
	}
	return out
}
