package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// sectionKey is the group of the policies with a section about traffic: of a namespace, or with "" all.
func sectionKey(section, namespace string) string { return section + "/" + namespace }

// policySections are the groups that a policy is in by its sections about traffic.
func policySections(p *v1alpha1.MeshPolicy) (out []string) {
	for _, r := range policy.All {
		if r.Traffic() && r.Has(&p.Spec) {
			out = append(out, sectionKey(r.Name, ""), sectionKey(r.Name, p.Namespace))
		}
	}
	return out
}

// mostOverriding is how many policies a condition names.
const mostOverriding = 5

// overriddenBy says which policies of inner levels say something else than a policy of a part of what it is
// about, where therefore their word holds.
func (m *Mesh) overriddenBy(q *incr.Query, p *v1alpha1.MeshPolicy) Verdict {
	var out []Verdict
	for _, r := range policy.All {
		if !r.Traffic() || !r.Has(&p.Spec) || isShadow(p) || m.ended(q, r, p) {
			continue
		}
		var by []string
		for _, s := range subjects(p) {
			by = append(append(by, m.nearer(q, r, p, s)...), m.ownWords(q, r, p, s)...)
		}
		slices.Sort(by)
		if by = slices.Compact(by); len(by) > 0 {
			more := ""
			if n := len(by) - mostOverriding; n > 0 {
				by, more = by[:mostOverriding], fmt.Sprintf(" and %d more", n)
			}
			out = append(out, wrong(reasonOverridden, "spec.%s: another one, which is nearer to the requests, holds instead: %s%s", r.Name, strings.Join(by, ", "), more))
		}
	}
	return join(out)
}

// nearer are the policies whose word in a section holds instead of p's for a part of s, with what each is about.
func (m *Mesh) nearer(q *incr.Query, r room.Room, p *v1alpha1.MeshPolicy, s subject) (out []string) {
	group := sectionKey(r.Name, s.Namespace)
	if s.Kind != room.Namespace {
		group = sectionKey(r.Name, "") // routes of other namespaces may be attached
	}
	for _, k := range m.policiesWith.Get(q, group) {
		other, ok := m.MeshPolicies.Get(q, k)
		if !ok || isShadow(other) || m.ended(q, r, other) {
			continue
		}
		_, differs := r.Contest([]room.Entry{{Spec: &p.Spec, Level: s.level()}, {Spec: &other.Spec, Level: s.level() + 1}})
		for _, o := range subjects(other) {
			if differs[0] && o.level() > s.level() && r.About(o.Kind) && m.within(q, o, s) && m.targetProblem(q, other, o).OK() {
				out = append(out, fmt.Sprintf("MeshPolicy %s of %s", k, o))
			}
		}
	}
	return out
}

// ownWords are the fields by which the rules of a route that a policy is about say themselves what a section of it
// would: nothing is nearer to the requests.
func (m *Mesh) ownWords(q *incr.Query, r room.Room, p *v1alpha1.MeshPolicy, s subject) (out []string) {
	if s.Kind != room.HTTPRoute {
		return nil
	}
	route, ok := m.HTTPRoutes.Get(q, key(s.Namespace, s.Name))
	if !ok {
		return nil
	}
	for i, rule := range route.Spec.Rules {
		name := string(*cmp.Or(rule.Name, new(gwv1.SectionName)))
		if s.part() && name != s.Part {
			continue
		}
		for _, field := range ownFields(r.Name, p, rule) {
			out = append(out, fmt.Sprintf("HTTPRoute %s by spec.rules[%d].%s", key(s.Namespace, s.Name), i, field))
		}
	}
	return out
}

// ownFields are those of a rule that hold in the place of a section: internal/envoy has them do so.
func ownFields(section string, p *v1alpha1.MeshPolicy, rule gwv1.HTTPRouteRule) (out []string) {
	t := cmp.Or(rule.Timeouts, &gwv1.HTTPRouteTimeouts{})
	retries := section == "retry" || section == "hedging"
	if section == "timeout" && p.Spec.Timeout.Request != nil && t.Request != nil {
		out = append(out, "timeouts.request")
	}
	if retries && rule.Retry != nil {
		out = append(out, "retry")
	}
	if retries && t.BackendRequest != nil {
		out = append(out, "timeouts.backendRequest")
	}
	return out
}

// within says whether a subject of an inner level is part of another one.
func (m *Mesh) within(q *incr.Query, o, s subject) bool {
	switch {
	case s.Kind == room.Mesh:
		return true
	case s.Kind == room.Namespace:
		return o.Namespace == s.Namespace
	case o.Kind == s.Kind:
		return o.group() == s.group() && !s.part()
	case o.Kind != room.HTTPRoute && o.Kind != room.GRPCRoute:
		return false
	}
	for _, a := range m.attached.Get(q, routeKey(string(o.Kind), key(o.Namespace, o.Name))) {
		for _, e := range m.entrances(q, a) {
			if e.group() == s.group() && e.takes(s) {
				return true
			}
		}
	}
	return false
}
