package opa

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Connection is an expression of CEL that is true of the connections, without HTTP, that are let in: it asks
// for who calls, from where, and to which port. What rules ask beside that is held against who wants to be let
// in, and makes no difference to who is kept out.
func Connection(levels []Level) string {
	var all []formula
	for _, l := range levels {
		var ways []formula
		for _, r := range l.Rules {
			if f := r.is.bounded(r.Deny, knownOfBytes); r.Deny {
				all = append(all, not(f))
			} else {
				ways = append(ways, f)
			}
		}
		all = append(all, anyOf(ways...))
	}
	return connection(allOf(all...))
}

// Denied is an expression of CEL that is true of the connections, without HTTP, that a rule which denies keeps out; "":
// of none.
func Denied(r Rule) string {
	f := r.is.bounded(true, knownOfBytes)
	if f.never() {
		return ""
	}
	return connection(f)
}

func knownOfBytes(a atom) bool {
	_, ok := ofConnection(a)
	return ok
}

// connection is a formula of what is known of one, all of it.
func connection(f formula) string {
	switch f.kind {
	case atomKind:
		text, _ := ofConnection(f.atom)
		return text
	case notKind:
		return "!(" + connection(f.parts[0]) + ")"
	}
	var all []string
	for _, part := range f.parts {
		all = append(all, "("+connection(part)+")")
	}
	switch {
	case len(all) == 0:
		return strconv.FormatBool(f.kind == allKind)
	case f.kind == allKind:
		return strings.Join(all, " && ")
	}
	return strings.Join(all, " || ")
}

func ofConnection(a atom) (string, bool) {
	switch {
	case a.op == portIs:
		return fmt.Sprintf("destination.port == %d", int(a.number)), true
	case a.op == within:
		regex, ok := addressRegex(a.values[0])
		return fmt.Sprintf("source.address.matches(r'^%s:[0-9]+$')", regex), ok
	case !a.of.in("source") || a.other != nil:
		return "", false
	}
	id, ok := ofPrincipal(a)
	if !ok {
		return "", false
	}
	regex := id.GetSafeRegex().GetRegex()
	if exact := id.GetExact(); exact != "" {
		return "connection.uri_san_peer_certificate == '" + exact + "'", safe(exact)
	}
	return "connection.uri_san_peer_certificate.matches(r'^(?:" + regex + ")$')", safe(regex)
}

// safe says whether a text ends neither the literal nor the format that it is put into.
func safe(s string) bool { return !strings.ContainsAny(s, "'%\n\"") }

// addressRegex matches the addresses of a block of IPv4. Those of IPv6 have too many ways to be written.
func addressRegex(block string) (string, bool) {
	p, err := netip.ParsePrefix(block)
	if err != nil || !p.Addr().Is4() {
		return "", false
	}
	var octets []string
	for i, b := range p.Masked().Addr().As4() {
		bits := min(max(p.Bits()-8*i, 0), 8)
		octets = append(octets, octetRegex(int(b), 1<<(8-bits)))
	}
	return strings.Join(octets, "[.]"), true
}

// octetRegex matches n numbers from the first on.
func octetRegex(first, n int) string {
	if n == 256 {
		return "[0-9]+"
	}
	var all []string
	for i := first; i < first+n; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return "(?:" + strings.Join(all, "|") + ")"
}
