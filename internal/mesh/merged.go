package mesh

import (
	"cmp"
	"slices"
	"strings"

	proxies "github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/incr"
)

// What a Gateway serves is its own listeners and those of its ListenerSets. Who asks for one of them, or
// for those of a hostname, does not read the others.

func find(listeners []listener, id string) (listener, bool) {
	i := slices.IndexFunc(listeners, func(l listener) bool { return l.ID == id })
	if i < 0 {
		return listener{}, false
	}
	return listeners[i], true
}

// listenerOf is a listener of a Gateway by its ID.
func (m *Mesh) listenerOf(q *incr.Query, gateway, id string) (listener, bool) {
	i := strings.LastIndexByte(id, '/')
	if i < 0 {
		return find(m.gateways.Get(q, gateway).Listeners, id)
	}
	s := m.sets.Get(q, id[:i])
	l, ok := find(s.Listeners, id)
	return l, ok && s.Gateway == gateway
}

// listenersOn are those served on a port of a Gateway. Of plaintext ones, which share all, it is one.
func (m *Mesh) listenersOn(q *incr.Query, gateway, port string) (out []listener) {
	add := func(of []listener) (plain bool) {
		for _, l := range of {
			if l.resource(gateway) == port && l.served() {
				out, plain = append(out, l), plain || !overTLS(l.Protocol)
			}
		}
		return plain
	}
	if add(m.gateways.Get(q, gateway).Listeners) {
		return out[:1]
	}
	seen := map[string]bool{}
	for _, host := range m.hostsOn.Get(q, port) {
		for _, k := range m.servedBy.Get(q, host) {
			if !seen[k] && add(m.sets.Get(q, k).Listeners) {
				return out[:1]
			}
			seen[k] = true
		}
	}
	return out
}

// serves says whether a listener of a Gateway's port has a hostname.
func (m *Mesh) serves(q *incr.Query, gateway, port, host string) bool {
	own := slices.ContainsFunc(m.gateways.Get(q, gateway).Listeners, func(l listener) bool {
		return l.resource(gateway) == port && l.served() && l.host() == host
	})
	return own || len(m.servedBy.Get(q, hostKey(port, host))) > 0
}

// hidden says whether a more specific listener of the same port takes a domain away from l: a
// request belongs to the most specific listener alone (listener isolation).
func (m *Mesh) hidden(q *incr.Query, gateway string, l listener, domain string) bool {
	return slices.ContainsFunc(append(wildcards(domain), domain), func(host string) bool {
		return host != l.host() && contains(l.host(), host) && m.serves(q, gateway, l.resource(gateway), host)
	})
}

// misdirected are domains whose requests on an HTTPS listener came over a connection that was opened for
// another name: they are answered 421 (RFC 9110, 15.5.20), and the client opens a connection for the right
// one. They are those of the other listeners of the port, one by one as far as l's hostname contains them;
// where there are ListenerSets, of which there may be many, "*" stands for whatever l's does not contain.
func (m *Mesh) misdirected(q *incr.Query, gateway string, l listener) (out []string) {
	if !l.https() {
		return nil
	}
	port, own := l.resource(gateway), l.Owner.Kind != ListenerSet
	for _, o := range m.gateways.Get(q, gateway).Listeners {
		if o.resource(gateway) == port && o.served() && o.host() != l.host() && (own || contains(l.host(), o.host())) {
			out = append(out, domains(o.host(), nil)[0])
		}
	}
	for _, k := range m.hostsBelow.Get(q, hostKey(port, cmp.Or(l.host(), "*"))) {
		_, host := parseHostKey(k)
		out = append(out, host)
	}
	sets := slices.ContainsFunc(m.portsOf.Get(q, gateway), func(k string) bool { return strings.HasPrefix(k, hostKey(port, "")) })
	if sets && l.host() != "" {
		out = append(out, "*")
	}
	return out
}

// misdirects says whether a domain on l is one of its misdirected: what else it has is its own.
func (m *Mesh) misdirects(q *incr.Query, gateway string, l listener, domain string) bool {
	if !contains(l.host(), domain) {
		return true
	}
	return domain != "*" && domain != l.host() && m.serves(q, gateway, l.resource(gateway), domain)
}

// SetPorts are the ports of the Service of a Gateway that its ListenerSets ask for, each with every
// protocol that is served on it, in order.
func (m *Mesh) SetPorts(q *incr.Query, gateway string) (out []proxies.Port) {
	for _, k := range m.portsOf.Get(q, gateway) {
		_, p := parseOpenKey(k)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b proxies.Port) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Protocol, b.Protocol))
	})
	return out
}
