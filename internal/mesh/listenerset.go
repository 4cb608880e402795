package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	proxies "github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/incr"
)

// ListenerSet is the kind that adds listeners to a Gateway. The Gateway's own come first, then those of
// the oldest set; of sets of one age, the first's by namespace and name. A listener that clashes with an
// earlier object's is not served. So a Gateway reads nothing of its sets to decide on its own listeners, and
// a set nothing of later ones.
const ListenerSet = "ListenerSet"

// listenerSet is a ListenerSet of a Gateway that Weft serves, and what became of its listeners.
type listenerSet struct {
	*gwv1.ListenerSet         // nil: not Weft's
	Gateway           string  // its key
	Refused           Verdict // what keeps all of it from the Gateway; then there are no Listeners
	Listeners         []listener
}

// attached says whether a Gateway has the set: one of its listeners at least is served.
func (s listenerSet) attached() bool { return slices.ContainsFunc(s.Listeners, listener.served) }

// listenerSets is what is remembered of ListenerSets, by their key.
type listenerSets struct {
	alone *incr.Memo[string, listenerSet] // whatever other objects say
	sets  *incr.Memo[string, listenerSet] // beside the earlier ones
	// claimedBy are the sets with listeners of one port and family, by claimKey, or of one hostname of
	// these, by hostKey; familiesOn the claimKeys of a port.
	claimedBy, familiesOn *incr.View[string, string]
	// servedBy are the sets that have a served listener of one port and hostname, by hostKey; hostsOn
	// the hostKeys of a port; hostsBelow those that the wildcard of a hostKey contains.
	servedBy, hostsOn, hostsBelow *incr.View[string, string]
	// opens are the sets that have a served listener of one port and protocol, by openKey; portsOf the
	// openKeys of a Gateway, attachedSets its sets, by its key.
	opens, portsOf, attachedSets *incr.View[string, string]
}

func (m *Mesh) newListenerSets() (s listenerSets) {
	s.alone = incr.NewMemo(m.Graph, "listenerSetAlone", same[listenerSet], m.listenersAlone)
	s.claimedBy = incr.NewView(m.ListenerSets, "claimedBy", func(q *incr.Query, k string) []string { return claimKeys(s.alone.Get(q, k)) })
	s.familiesOn = incr.NewView[string](s.claimedBy, "familiesOn", func(_ *incr.Query, k string) []string {
		if port, _ := parseHostKey(k); !strings.Contains(port, "|") {
			return []string{port}
		}
		return nil // of one hostname
	})
	s.sets = incr.NewMemo(m.Graph, "listenerSet", same[listenerSet], m.listenerSet)
	s.servedBy = incr.NewView(m.ListenerSets, "servedBy", func(q *incr.Query, k string) []string { return servedHosts(s.sets.Get(q, k)) })
	s.hostsOn = incr.NewView[string](s.servedBy, "hostsOn", func(_ *incr.Query, k string) []string {
		port, _ := parseHostKey(k)
		return []string{port}
	})
	s.hostsBelow = incr.NewView[string](s.servedBy, "hostsBelow", func(_ *incr.Query, k string) []string { return above(k) })
	s.opens = incr.NewView(m.ListenerSets, "opens", func(q *incr.Query, k string) []string { return openPorts(s.sets.Get(q, k)) })
	s.portsOf = incr.NewView[string](s.opens, "portsOf", func(_ *incr.Query, k string) []string {
		gateway, _ := parseOpenKey(k)
		return []string{gateway}
	})
	s.attachedSets = incr.NewView(m.ListenerSets, "attachedSets", func(q *incr.Query, k string) []string {
		if set := s.sets.Get(q, k); set.attached() {
			return []string{set.Gateway}
		}
		return nil
	})
	return s
}

// family is the protocols that can share a port: there, the hostname tells connections apart.
func family(p gwv1.ProtocolType) gwv1.ProtocolType {
	if overTLS(p) {
		return gwv1.TLSProtocolType
	}
	return p
}

// claimKey is a port of a Gateway for the listeners of l's family.
func (l listener) claimKey(gateway string) string {
	return hostKey(l.resource(gateway), string(family(l.Protocol)))
}

// hostKey is a hostname on a port, or on what a claimKey is. A port is called by the name of what listens
// there.
func hostKey(port, host string) string { return port + "|" + host }

func parseHostKey(k string) (port, host string) {
	i := strings.LastIndexByte(k, '|')
	return k[:i], k[i+1:]
}

// above are the hostKeys of the wildcards that contain a hostKey's.
func above(k string) (out []string) {
	port, host := parseHostKey(k)
	if host == "" {
		return nil
	}
	for _, w := range wildcards(host) {
		out = append(out, hostKey(port, w))
	}
	return out
}

// openKey is a port on which l's protocol is served.
func (l listener) openKey(gateway string) string {
	return hostKey(l.resource(gateway), string(l.Protocol))
}

func parseOpenKey(k string) (gateway string, p proxies.Port) {
	port, protocol := parseHostKey(k)
	gateway, number := parseListener(port)
	return gateway, proxies.Port{Number: number, Protocol: gwv1.ProtocolType(protocol)}
}

func openPorts(s listenerSet) (out []string) {
	for _, l := range s.Listeners {
		if l.served() {
			out = append(out, l.openKey(s.Gateway))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func claimKeys(s listenerSet) (out []string) {
	for _, l := range s.Listeners {
		if l.Refused.OK() {
			claim := l.claimKey(s.Gateway)
			out = append(out, claim, hostKey(claim, l.host()))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func servedHosts(s listenerSet) (out []string) {
	for _, l := range s.Listeners {
		if l.served() {
			out = append(out, hostKey(l.resource(s.Gateway), l.host()))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// parentGateway is the key of the Gateway that a ListenerSet names; "" if it names something else.
func parentGateway(s *gwv1.ListenerSet) string {
	ref, group, kind, namespace := s.Spec.ParentRef, gwv1.Group(gwv1.GroupName), gwv1.Kind("Gateway"), gwv1.Namespace(s.Namespace)
	if *cmp.Or(ref.Group, &group) != gwv1.GroupName || *cmp.Or(ref.Kind, &kind) != kind {
		return ""
	}
	return key(string(*cmp.Or(ref.Namespace, &namespace)), string(ref.Name))
}

// listenersAlone resolves a ListenerSet by itself.
func (m *Mesh) listenersAlone(q *incr.Query, k string) listenerSet {
	set, ok := m.ListenerSets.Get(q, k)
	if !ok {
		return listenerSet{}
	}
	in, at := owner{ListenerSet, set.Namespace, set.Name}, parentGateway(set)
	g := m.gateways.Get(q, at)
	if g.Gateway == nil {
		return listenerSet{}
	}
	s := listenerSet{ListenerSet: set, Gateway: at, Refused: m.setProblem(q, g, set)}
	if !s.Refused.OK() {
		return s
	}
	for _, entry := range set.Spec.Listeners {
		s.Listeners = append(s.Listeners, m.listener(q, g.Gateway, in, new(gwv1.Listener(entry))))
	}
	return s
}

// setProblem is what keeps a whole ListenerSet from its Gateway.
func (m *Mesh) setProblem(q *incr.Query, g gateway, set *gwv1.ListenerSet) Verdict {
	from, selector := gwv1.NamespacesFromNone, (*metav1.LabelSelector)(nil)
	if a := g.Spec.AllowedListeners; a != nil && a.Namespaces != nil {
		from, selector = *cmp.Or(a.Namespaces.From, &from), a.Namespaces.Selector
	}
	k := key(g.Namespace, g.Name)
	switch {
	case !m.from(q, from, selector, set.Namespace, g.Namespace):
		return wrong(gwv1.ListenerSetReasonNotAllowed, "spec.parentRef: Gateway %s takes no ListenerSets of namespace %s: its spec.allowedListeners.namespaces must let them in", k, set.Namespace)
	case !g.keeps():
		return g.unaccepted()
	}
	return Verdict{}
}

// listenerSet is a ListenerSet beside the earlier listeners of its Gateway. Of those of its own that
// cannot be told apart none is served, as of a Gateway's.
func (m *Mesh) listenerSet(q *incr.Query, k string) listenerSet {
	s := m.alone.Get(q, k)
	s.Listeners = slices.Clone(s.Listeners)
	var rest []listener
	var at []int
	for i, l := range s.Listeners {
		if s.Listeners[i].Conflict = m.lost(q, s, l); s.Listeners[i].Conflict.OK() {
			rest, at = append(rest, l), append(at, i)
			continue
		}
		s.Listeners[i].Lost = true
	}
	markConflicts(rest)
	for n, l := range rest {
		s.Listeners[at[n]] = l
	}
	return s
}

// lost says to which earlier listener of the Gateway one of a ListenerSet loses, if it does.
func (m *Mesh) lost(q *incr.Query, s listenerSet, l listener) Verdict {
	port, own := l.resource(s.Gateway), l.claimKey(s.Gateway)
	var rivals []listener
	for _, o := range m.gateways.Get(q, s.Gateway).Listeners {
		if o.Refused.OK() && o.resource(s.Gateway) == port {
			rivals = append(rivals, o)
		}
	}
	for _, claim := range m.familiesOn.Get(q, port) {
		if claim != own {
			rivals = append(rivals, m.holder(q, s, claim)...)
		}
	}
	for _, o := range rivals {
		if o.claimKey(s.Gateway) != own {
			return wrong(gwv1.ListenerReasonProtocolConflict, "listener %s: port %d is also that of %s, which comes first, with protocol %s: use another port", l.Name, l.Port, o.seenFrom(l), o.Protocol)
		}
	}
	for _, o := range append(rivals, m.holder(q, s, hostKey(own, l.host()))...) {
		if o.host() == l.host() {
			return wrong(gwv1.ListenerReasonHostnameConflict, "listener %s: port %d and hostname %q are also those of %s, which comes first: change one of them", l.Name, l.Port, l.host(), o.seenFrom(l))
		}
	}
	return Verdict{}
}

// seenFrom is how a message about another listener calls one: what is in another namespace than that,
// and not the Gateway's, is nothing of its writer's.
func (l listener) seenFrom(o listener) string {
	if l.Owner.Kind == ListenerSet && l.Owner.Namespace != o.Owner.Namespace {
		return "a ListenerSet of another namespace"
	}
	return fmt.Sprintf("listener %s of %s %s", l.Name, l.Owner.Kind, key(l.Owner.Namespace, l.Owner.Name))
}

// holder is the first listener that has a claim, of a ListenerSet earlier than s; what lost has none.
// That a set is earlier is asked first: so no two sets ask each other.
func (m *Mesh) holder(q *incr.Query, s listenerSet, claim string) []listener {
	var earlier []listenerSet
	for _, k := range m.claimedBy.Get(q, claim) {
		if o := m.alone.Get(q, k); precedes(o, s) < 0 {
			earlier = append(earlier, o)
		}
	}
	slices.SortFunc(earlier, precedes)
	for _, o := range earlier {
		for _, l := range m.sets.Get(q, key(o.Namespace, o.Name)).Listeners {
			own := l.claimKey(s.Gateway)
			if l.Refused.OK() && !l.Lost && (own == claim || hostKey(own, l.host()) == claim) {
				return []listener{l}
			}
		}
	}
	return nil
}

// precedes orders sets as they come: by age, then by namespace and name.
func precedes(a, b listenerSet) int {
	return cmp.Or(a.CreationTimestamp.Time.Compare(b.CreationTimestamp.Time),
		cmp.Compare(key(a.Namespace, a.Name), key(b.Namespace, b.Name)))
}

// setPlaces are where a ListenerSet that a parentRef names serves a route.
func (m *Mesh) setPlaces(q *incr.Query, r route, s listenerSet, a attached) ([]place, Verdict) {
	if !s.Refused.OK() {
		return nil, wrong(gwv1.RouteReasonNoMatchingParent, "%s: ListenerSet %s is not attached to a Gateway: see its conditions", a.Field, a.Set)
	}
	return m.places(q, r, s.Listeners, a)
}

// setWants are what serves the listeners of a ListenerSet.
func (m *Mesh) setWants(q *incr.Query, k string) []string {
	s := m.sets.Get(q, k)
	if !s.attached() {
		return nil
	}
	out := m.listenerWants(q, s.Gateway, m.Scope(q, s.Gateway), s.Listeners)
	slices.Sort(out)
	return slices.Compact(out)
}
