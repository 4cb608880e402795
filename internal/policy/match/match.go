// Package match is the section match: rules of routes that take the requests of some callers only.
package match

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section is about rules.
var Section = room.Section[v1alpha1.Match]{
	Name:    "match",
	Of:      func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.Match { return spec.Match },
	On:      []room.Kind{room.HTTPRoute, room.GRPCRoute},
	Holds:   room.Innermost[v1alpha1.Match],
	Traffic: room.Traffic[v1alpha1.Match]{Match: narrow, Problem: problem},
}

func problem(_ *v1alpha1.Match, _ room.Kind, part bool) string {
	if part {
		return ""
	}
	return " narrows rules of routes: name one as sectionName of the target"
}

// narrow takes nothing at a Gateway, whose connections have no such state.
func narrow(s *v1alpha1.Match, m *routev3.RouteMatch) {
	m.FilterState = append(m.FilterState, &matcherv3.FilterStateMatcher{
		Key:     room.CallerState,
		Matcher: &matcherv3.FilterStateMatcher_StringMatch{StringMatch: room.AnyOf(s.From)},
	})
}
