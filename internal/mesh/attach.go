package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"github.com/weft-mesh/weft/internal/incr"
)

// attached is what became of one parentRef of a route that names a Gateway of ours, a Service, or an XMesh of ours.
type attached struct {
	Ref     gwv1.ParentReference
	Field   string
	Gateway string // its key, where Ref names it or a ListenerSet of it
	Set     string // the key of that
	Service string // its key; Gateway or this, or neither of an XMesh
	Refused Verdict
	Places  []place // at a Gateway; none if refused
	Ports   []int32 // of a Service; none if refused
}

// parent is how messages call what it attaches to at a Gateway.
func (a attached) parent() string {
	if a.Set != "" {
		return ListenerSet + " " + a.Set
	}
	return "Gateway " + a.Gateway
}

// place is a domain under which a listener, by its ID, serves a route.
type place struct{ Listener, Routes, Domain string }

// parentOf is the kind and the key of what a parentRef names; "" if it is of another group.
func parentOf(r route, ref gwv1.ParentReference) (kind, k string) {
	group, namespace := gwv1.Group(gwv1.GroupName), gwv1.Namespace(r.Namespace)
	kind, group = string(*cmp.Or(ref.Kind, new(gwv1.Kind("Gateway")))), *cmp.Or(ref.Group, &group)
	k = key(string(*cmp.Or(ref.Namespace, &namespace)), string(ref.Name))
	if (kind == "Gateway" || kind == ListenerSet) && group == gwv1.GroupName || kind == "Service" && group == "" {
		return kind, k
	}
	if kind == xmesh && group == gwx.GroupName {
		return kind, string(ref.Name)
	}
	return "", ""
}

// claim decides each parentRef of a route that names a Gateway of ours, a Service or an XMesh of ours, which
// takes none, in the route's order, as if there were no other route.
func (m *Mesh) claim(q *incr.Query, k string) []attached {
	r, ok := m.route(q, k)
	if !ok {
		return nil
	}
	var out []attached
	for i, ref := range r.Parents {
		a := attached{Ref: ref, Field: fmt.Sprintf("spec.parentRefs[%d]", i)}
		switch kind, parent := parentOf(r, ref); kind {
		case "Gateway":
			g := m.gateways.Get(q, parent)
			if g.Gateway == nil {
				continue
			}
			a.Gateway = parent
			a.Places, a.Refused = m.places(q, r, g.Listeners, a)
		case ListenerSet:
			s := m.sets.Get(q, parent)
			if s.ListenerSet == nil {
				continue
			}
			a.Gateway, a.Set = s.Gateway, parent
			a.Places, a.Refused = m.setPlaces(q, r, s, a)
		case "Service":
			a.Service = parent
			if a.Refused = notOfServices(r.Kind, a); a.Refused.OK() {
				a.Ports, a.Refused = m.frontend(q, r.Kind, a)
			}
		case xmesh:
			if x, ok := m.XMeshes.Get(q, parent); !ok || x.Spec.ControllerName != MeshControllerName {
				continue
			}
			a.Refused = wrong(gwv1.RouteReasonNoMatchingParent, "%s: XMesh %s takes no routes: name the Service whose callers the route is for, by group: \"\" and kind: Service", a.Field, parent)
		default:
			continue
		}
		out = append(out, a)
	}
	return out
}

// attach is what a route's claims leave it beside the routes of the other kind.
func (m *Mesh) attach(q *incr.Query, k string) []attached {
	out := slices.Clone(m.claims.Get(q, k))
	for i := range out {
		if out[i].Service != "" {
			m.yieldPorts(q, k, &out[i])
		} else {
			m.yieldPlaces(q, k, &out[i])
		}
	}
	return out
}

// places are where those of some listeners that a parentRef selects serve a route.
func (m *Mesh) places(q *incr.Query, r route, listeners []listener, a attached) ([]place, Verdict) {
	var out []place
	var closed []listener
	var hosts []string
	for _, l := range listeners {
		if (a.Ref.SectionName != nil && *a.Ref.SectionName != l.Name) || (a.Ref.Port != nil && *a.Ref.Port != l.Port) {
			continue
		}
		if !m.allows(q, l, r) {
			closed = append(closed, l)
			continue
		}
		hosts = append(hosts, cmp.Or(l.host(), "*"))
		for _, d := range domains(l.host(), r.Hostnames) {
			out = append(out, place{l.ID, l.routes(a.Gateway), d})
		}
	}
	switch {
	case len(out) > 0:
		return out, Verdict{}
	case len(hosts) > 0:
		return nil, wrong(gwv1.RouteReasonNoMatchingListenerHostname, "spec.hostnames: none is served by a listener of %s that %s selects: name one of %s", a.parent(), a.Field, strings.Join(hosts, ", "))
	case len(closed) > 0:
		return nil, notAllowed(closed, r, a)
	}
	return nil, wrong(gwv1.RouteReasonNoMatchingParent, "%s: %s has no listener%s: it has %s", a.Field, a.parent(), wanted(a.Ref, "on port "), listenersOf(listeners))
}

// notAllowed says by what listeners keep a route out: its namespace, if one of them takes its kind.
func notAllowed(closed []listener, r route, a attached) Verdict {
	const reason = gwv1.RouteReasonNotAllowedByListeners
	if slices.ContainsFunc(closed, func(l listener) bool { return l.takes(r.Kind) }) {
		return wrong(reason, "%s: the listeners of %s do not allow %ss of namespace %s: see their allowedRoutes", a.Field, a.parent(), r.Kind, r.Namespace)
	}
	l := closed[0]
	if slices.Contains(l.carries(), r.Kind) {
		return wrong(reason, "%s: listener %s of %s does not allow %ss: see its allowedRoutes.kinds", a.Field, l.Name, a.parent(), r.Kind)
	}
	return wrong(reason, "%s: listener %s of %s has protocol %s, to which %ss cannot attach: name another listener", a.Field, l.Name, a.parent(), l.Protocol, r.Kind)
}

// takes says whether routes of a kind may attach to a listener.
func (l listener) takes(kind string) bool {
	return slices.ContainsFunc(l.Kinds, func(k gwv1.RouteGroupKind) bool { return string(k.Kind) == kind })
}

// wanted is the part of its parent that a reference asks for, as messages call it.
func wanted(ref gwv1.ParentReference, port string) (out string) {
	if ref.SectionName != nil {
		out = fmt.Sprintf(" %q", *ref.SectionName)
	}
	if ref.Port != nil {
		out += fmt.Sprintf(" %s%d", port, *ref.Port)
	}
	return out
}

// listenersOf are listeners as a parentRef can name them.
func listenersOf(ls []listener) string {
	var out []string
	for _, l := range ls {
		out = append(out, fmt.Sprintf("%s:%d", l.Name, l.Port))
	}
	return orNone(out)
}

// allows says whether a listener takes routes of this kind from this namespace.
func (m *Mesh) allows(q *incr.Query, l listener, r route) bool {
	if !l.takes(r.Kind) {
		return false
	}
	from, selector := gwv1.NamespacesFromSame, (*metav1.LabelSelector)(nil)
	if l.AllowedRoutes != nil && l.AllowedRoutes.Namespaces != nil {
		from = *cmp.Or(l.AllowedRoutes.Namespaces.From, &from)
		selector = l.AllowedRoutes.Namespaces.Selector
	}
	return m.from(q, from, selector, r.Namespace, l.Owner.Namespace)
}

// from says whether an object in namespace own takes others from a namespace.
func (m *Mesh) from(q *incr.Query, from gwv1.FromNamespaces, selector *metav1.LabelSelector, namespace, own string) bool {
	switch from {
	case gwv1.NamespacesFromAll:
		return true
	case gwv1.NamespacesFromSame:
		return namespace == own
	case gwv1.NamespacesFromSelector:
		return m.selected(q, namespace, selector)
	}
	return false
}

func (m *Mesh) selected(q *incr.Query, namespace string, selector *metav1.LabelSelector) bool {
	ns, ok := m.Namespaces.Get(q, namespace)
	s, err := metav1.LabelSelectorAsSelector(selector)
	return ok && err == nil && s.Matches(labels.Set(ns.Labels))
}

// domains are what a listener with this hostname serves of a route with these: the intersection,
// "*" where neither names one.
func domains(listener string, route []gwv1.Hostname) []string {
	if len(route) == 0 {
		return []string{cmp.Or(listener, "*")}
	}
	var out []string
	for _, h := range route {
		if d, ok := intersect(listener, string(h)); ok && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// intersect returns the more specific of two hostnames of which one contains the other.
func intersect(a, b string) (string, bool) {
	switch {
	case contains(a, b):
		return b, true
	case contains(b, a):
		return a, true
	}
	return "", false
}

// contains says whether every name that b stands for is one that a stands for. A wildcard stands
// for one label or more; "" and "*" stand for any name.
func contains(a, b string) bool {
	if a == "" || a == "*" || a == b {
		return true
	}
	suffix, wild := strings.CutPrefix(a, "*")
	return wild && strings.HasSuffix(b, suffix) && len(b) > len(suffix)
}
