package mesh

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// A section with a Shared filter that tells rules apart has a window for each rule, at each RouteConfiguration by
// which requests come to it. A change of a route that adds and removes no rule leaves the filter alone.

// entering is what a section says of each rule of a RouteConfiguration, in the order of policies and rules.
func (m *Mesh) entering(q *incr.Query, section, routes string) (out []room.Decided) {
	if strings.HasPrefix(routes, GatewayPrefix) {
		for _, k := range m.routedBy.Get(q, routes) {
			out = append(out, m.windows.Get(q, windowsKey(section, routes, k))...)
		}
	} else {
		at := parseServiceListener(routes)
		for _, consumer := range append(consumers(q, m.frontedBy, at.service, at.port), "") {
			out = append(out, ruleByRule(m.ServiceHost(q, routes, consumer).Rules, section)...)
		}
	}
	slices.SortFunc(out, func(a, b room.Decided) int {
		return cmp.Or(strings.Compare(a.Policy, b.Policy), strings.Compare(a.Rule, b.Rule))
	})
	return slices.CompactFunc(out, func(a, b room.Decided) bool { return a.Policy == b.Policy && a.Rule == b.Rule })
}

// ruleByRule is what a section says of those rules that send requests on.
func ruleByRule(rules []Rule, section string) (out []room.Decided) {
	for _, r := range rules {
		for _, d := range r.Policies {
			if d.Section == section && !d.Ended && r.Fail == 0 && len(r.Backends) > 0 {
				d.Rule = r.RuleID()
				out = append(out, d)
			}
		}
	}
	return out
}

// routings are the RouteConfigurations of Gateways that hold a route.
func (m *Mesh) routings(q *incr.Query, k string) (out []string) {
	for _, a := range m.attached.Get(q, k) {
		for _, p := range a.Places {
			if !slices.Contains(out, p.Routes) {
				out = append(out, p.Routes)
			}
		}
	}
	return out
}

func windowsKey(section, routes, route string) string { return section + " " + routes + " " + route }

// windowsOf is what a section says of the rules of a route, wherever one RouteConfiguration has them: a policy may
// be about one of the listeners of its port.
func (m *Mesh) windowsOf(q *incr.Query, windows string) (out []room.Decided) {
	parts := strings.SplitN(windows, " ", 3)
	section, routes, k := parts[0], parts[1], parts[2]
	var seen []string
	for _, a := range m.attached.Get(q, k) {
		for _, p := range a.Places {
			if p.Routes != routes {
				continue
			}
			e := m.entranceOf(q, a.Gateway, k, VirtualHost{Routes: routes, Domain: p.Domain}.Name())
			if e.listener == "" || slices.Contains(seen, e.listener) {
				continue
			}
			seen = append(seen, e.listener)
			out = append(out, ruleByRule(m.governed(q, m.servedRules(q, k, m.rules.Get(q, k)), e), section)...)
		}
	}
	return out
}
