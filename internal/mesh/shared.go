package mesh

import (
	"slices"
	"strings"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/ratelimit"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Shared is a filter of a section of policies that all Routes of one RouteConfiguration share. It is a
// resource of its own: what it counts outlives the Routes.
type Shared struct {
	Name    string // shared/<section>/<RouteConfiguration>
	Section string
	Port    room.Port
	// Policies are the keys of those of which the word may hold for some request there.
	Policies []string
	// Says is what each of them says, in the order of their keys; in a section that tells rules apart, what holds
	// for each rule.
	Says []room.Decided
}

const sharedPrefix = "shared/"

// SharedName is the name of the Shared of a section for a RouteConfiguration.
func SharedName(section, routes string) string { return sharedPrefix + section + "/" + routes }

// IsShared says whether an extension is a Shared, by its name.
func IsShared(name string) bool { return strings.HasPrefix(name, sharedPrefix) }

// Shared is the Shared of a name.
func (m *Mesh) Shared(q *incr.Query, name string) Shared {
	section, routes, _ := strings.Cut(strings.TrimPrefix(name, sharedPrefix), "/")
	out := Shared{Name: name, Section: section}
	out.Port = room.Port{Gateway: strings.HasPrefix(routes, GatewayPrefix), Routes: routes}
	r, ok := policy.ByName(section)
	if !ok {
		return out
	}
	out.Says = m.sharing(q, r, routes)
	out.Policies = policyKeys(out.Says)
	if r.Entering != nil {
		out.Says = m.entering(q, section, routes)
	}
	return out
}

// sharedSections are those that have a Shared for a RouteConfiguration.
func (m *Mesh) sharedSections(q *incr.Query, routes string) (out []string) {
	for _, r := range policy.All {
		if r.Shared != nil && len(m.sharing(q, r, routes)) > 0 {
			out = append(out, r.Name)
		}
	}
	return out
}

func (m *Mesh) sharedWants(q *incr.Query, scope, routes string) (out []string) {
	for _, section := range m.sharedSections(q, routes) {
		out = append(out, want(scope, KindExtension, SharedName(section, routes)))
	}
	for _, a := range m.apartAt(q, routes) {
		out = append(out, want(scope, KindExtension, a.Name))
	}
	if m.counts(q, routes) {
		out = append(out, want(scope, KindExtension, QuotaName(routes)), Want{scope, KindCluster, ratelimit.Cluster, kindOfProxy(routes)}.Key())
	}
	return out
}

// sharing is what policies say in a section that are about what comes in by a RouteConfiguration, or about a
// route that it holds. Which of them holds for a request, its Route tells.
func (m *Mesh) sharing(q *incr.Query, r room.Room, routes string) (out []room.Decided) {
	var found []selected
	if m.mayEnter(q, r, routes) {
		found = m.about(q, outsideIn(entranceAt(routes)), func(s subject) bool { return m.enters(q, s, routes) })
	}
	for _, k := range m.sharedOn.Get(q, routes) {
		if p, ok := m.MeshPolicies.Get(q, k); ok {
			for _, s := range subjects(p) {
				if ofRoutes(s) {
					found = append(found, selected{p, s.level(), s})
				}
			}
		}
	}
	for _, p := range found {
		if m.heldIn(q, p, r) {
			out = append(out, r.Decide([]room.Entry{{Policy: p.key(), Level: p.Level, Spec: &p.Spec}}))
		}
	}
	slices.SortFunc(out, func(a, b room.Decided) int { return strings.Compare(a.Policy, b.Policy) })
	return slices.CompactFunc(out, func(a, b room.Decided) bool { return a.Policy == b.Policy })
}

// mayEnter says whether there is a policy with a section at all that may be about whatever comes in by a
// RouteConfiguration. Where there is none, no other policy's change is of interest.
func (m *Mesh) mayEnter(q *incr.Query, r room.Room, routes string) bool {
	return len(m.policiesWith.Get(q, sectionKey(r.Name, v1alpha1.SystemNamespace)))+
		len(m.policiesWith.Get(q, sectionKey(r.Name, namespaceIn(entranceAt(routes).key)))) > 0
}

// entranceAt is the whole Gateway or Service that a RouteConfiguration is of.
func entranceAt(routes string) entrance {
	if strings.HasPrefix(routes, GatewayPrefix) {
		gateway, _ := parseListener(routes)
		return entrance{kind: room.Gateway, key: gateway}
	}
	return entrance{kind: room.Service, key: parseServiceListener(routes).service}
}

// enters says whether a subject of a group that may be about a RouteConfiguration's entrance is about it.
func (m *Mesh) enters(q *incr.Query, s subject, routes string) bool {
	switch {
	case !s.part():
		return true
	case s.Kind == room.Gateway:
		gateway, _ := parseListener(routes)
		l, ok := m.listenerOf(q, gateway, s.Part)
		return ok && l.served() && l.routes(gateway) == routes
	}
	at := parseServiceListener(routes)
	_, port, ok := m.portOf(q, at.service, at.port)
	return ok && s.names(port)
}

func ofRoutes(s subject) bool { return s.Kind == room.HTTPRoute || s.Kind == room.GRPCRoute }

// sharedAt are the RouteConfigurations that hold the routes which a policy is about, if it has a section
// with Shared.
func (m *Mesh) sharedAt(q *incr.Query, k string) (out []string) {
	p, ok := m.MeshPolicies.Get(q, k)
	if !ok || !hasShared(&p.Spec) {
		return nil
	}
	for _, s := range subjects(p) {
		if !ofRoutes(s) {
			continue
		}
		for _, a := range m.attached.Get(q, routeKey(string(s.Kind), key(s.Namespace, s.Name))) {
			for _, place := range a.Places {
				out = append(out, place.Routes)
			}
			for _, port := range a.Ports {
				out = append(out, serviceListenerName(a.Service, port))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func hasShared(spec *v1alpha1.MeshPolicySpec) bool {
	return slices.ContainsFunc(policy.All, func(r room.Room) bool {
		return r.Has(spec) && (r.Shared != nil || r.Apart != nil && r.IsApart(r.Decide([]room.Entry{{Spec: spec}})))
	})
}
