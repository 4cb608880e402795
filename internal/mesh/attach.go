package mesh

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// attached is what became of one parentRef of a route that names a Gateway of ours.
type attached struct {
	Ref     gwv1.ParentReference
	Gateway string // its key
	Refused Verdict
	Places  []place // none if refused
}

// place is a domain under which a listener serves a route.
type place struct{ Listener, Routes, Domain string }

// parents are the keys of the Gateways that a route names, each once.
func parents(r *gwv1.HTTPRoute) []string {
	var out []string
	for _, ref := range r.Spec.ParentRefs {
		if k, ok := gatewayOf(r, ref); ok && !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

func gatewayOf(r *gwv1.HTTPRoute, ref gwv1.ParentReference) (string, bool) {
	if (ref.Group != nil && *ref.Group != gwv1.GroupName) || (ref.Kind != nil && *ref.Kind != "Gateway") {
		return "", false
	}
	if ref.Namespace != nil {
		return key(string(*ref.Namespace), string(ref.Name)), true
	}
	return key(r.Namespace, string(ref.Name)), true
}

// attach decides each parentRef of a route that names a Gateway of ours, in the route's order.
func (m *Mesh) attach(q *incr.Query, k string) []attached {
	r, ok := m.HTTPRoutes.Get(q, k)
	if !ok {
		return nil
	}
	var out []attached
	for i, ref := range r.Spec.ParentRefs {
		gk, ok := gatewayOf(r, ref)
		if !ok {
			continue
		}
		if g := m.gateways.Get(q, gk); g.Gateway != nil {
			places, refused := m.places(q, r, g, gk, i, ref)
			out = append(out, attached{ref, gk, refused, places})
		}
	}
	return out
}

// places are where the listeners of a Gateway that a parentRef selects serve a route.
func (m *Mesh) places(q *incr.Query, r *gwv1.HTTPRoute, g gateway, gk string, i int, ref gwv1.ParentReference) ([]place, Verdict) {
	refused := wrong(gwv1.RouteReasonNoMatchingParent, "spec.parentRefs[%d]: Gateway %s has no listener that matches sectionName and port", i, gk)
	var out []place
	for _, l := range g.Listeners {
		if (ref.SectionName != nil && *ref.SectionName != l.Name) || (ref.Port != nil && *ref.Port != l.Port) {
			continue
		}
		if !m.allows(q, g, l, r) {
			refused = later(refused, wrong(gwv1.RouteReasonNotAllowedByListeners, "spec.parentRefs[%d]: the listeners of Gateway %s do not allow HTTPRoutes of namespace %s: see their allowedRoutes", i, gk, r.Namespace))
			continue
		}
		domains := domains(l.host(), r.Spec.Hostnames)
		if len(domains) == 0 {
			refused = later(refused, wrong(gwv1.RouteReasonNoMatchingListenerHostname, "spec.hostnames: none is served by a listener of Gateway %s that spec.parentRefs[%d] selects", gk, i))
		}
		for _, d := range domains {
			out = append(out, place{string(l.Name), l.routes(gk), d})
		}
	}
	if len(out) > 0 {
		return out, Verdict{}
	}
	return nil, refused
}

// later keeps the reason that was reached furthest on the way to attachment.
func later(a, b Verdict) Verdict {
	steps := []string{string(gwv1.RouteReasonNoMatchingParent), string(gwv1.RouteReasonNotAllowedByListeners), string(gwv1.RouteReasonNoMatchingListenerHostname)}
	if slices.Index(steps, b.Reason) > slices.Index(steps, a.Reason) {
		return b
	}
	return a
}

// allows says whether a listener takes routes of this kind from this namespace.
func (m *Mesh) allows(q *incr.Query, g gateway, l listener, r *gwv1.HTTPRoute) bool {
	if len(l.Kinds) == 0 {
		return false
	}
	from, selector := gwv1.NamespacesFromSame, (*metav1.LabelSelector)(nil)
	if l.AllowedRoutes != nil && l.AllowedRoutes.Namespaces != nil {
		from = *cmp.Or(l.AllowedRoutes.Namespaces.From, &from)
		selector = l.AllowedRoutes.Namespaces.Selector
	}
	switch from {
	case gwv1.NamespacesFromAll:
		return true
	case gwv1.NamespacesFromSame:
		return r.Namespace == g.Namespace
	case gwv1.NamespacesFromSelector:
		return m.selected(q, r.Namespace, selector)
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

// hidden says whether a more specific listener of the same port takes a domain away from l: a
// request belongs to the most specific listener alone (listener isolation).
func (g gateway) hidden(l listener, domain string) bool {
	for _, o := range g.Listeners {
		if o.Port == l.Port && o.Name != l.Name && o.served() && o.host() != l.host() &&
			contains(l.host(), o.host()) && contains(o.host(), domain) {
			return true
		}
	}
	return false
}
