package mesh

import (
	"fmt"
	"maps"
	"slices"

	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/smi"
)

// HTTPRouteGroup is SMI's kind that describes requests.
const HTTPRouteGroup = "HTTPRouteGroup"

// maxUsers is how many users of an object its status lists.
const maxUsers = 64

// badHTTPMatch says what keeps a match of an HTTPRouteGroup from being used: it describes no request then.
func badHTTPMatch(match *specs.HTTPMatch, field string) Verdict {
	if match.PathRegex != "" {
		if err := CheckRegex(smi.PathRegex(match.PathRegex)); err != nil {
			return wrong(specs.ReasonInvalidMatch, "%s.pathRegex: %q is not a regular expression of RE2: %v", field, bounded(match.PathRegex), err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(match.Headers)) {
		if !ValidHeaderName(name) {
			return wrong(specs.ReasonInvalidMatch, "%s.headers: %q is no header's name", field, bounded(name))
		}
		if err := CheckRegex(string(match.Headers[name])); err != nil {
			return wrong(specs.ReasonInvalidMatch, "%s.headers[%s]: %q is not a regular expression of RE2: %v", field, name, bounded(string(match.Headers[name])), err)
		}
	}
	return Verdict{}
}

// badHTTPMatches are the problems of a group's matches.
func badHTTPMatches(g *specs.HTTPRouteGroup) Verdict {
	var vs []Verdict
	for i := range g.Spec.Matches {
		vs = append(vs, badHTTPMatch(&g.Spec.Matches[i], fmt.Sprintf("spec.matches[%d]", i)))
	}
	return join(vs)
}

// HTTPRouteGroupStatus is the status of an HTTPRouteGroup; nil when it is gone.
func (m *Mesh) HTTPRouteGroupStatus(q *incr.Query, k string) *specs.Status {
	g, ok := m.HTTPRouteGroups.Get(q, k)
	if !ok {
		return nil
	}
	bad := badHTTPMatches(g)
	if !bad.OK() {
		bad.Message += "; whoever names it behaves as if this described no request"
	}
	return specStatus(g.Generation, bad, m.groupUsers(q, k))
}

// groupUsers are the objects that name an HTTPRouteGroup, in order.
func (m *Mesh) groupUsers(q *incr.Query, k string) (out []specs.User) {
	for _, user := range m.groupedBy.Get(q, k) {
		if s, ok := m.TrafficSplits.Get(q, user); ok {
			out = append(out, specs.User{Kind: TrafficSplit, Name: s.Name})
		}
	}
	return append(out, m.namedByTargets(q, HTTPRouteGroup, k)...)
}

// splitGroups are the keys of the HTTPRouteGroups that a TrafficSplit names.
func splitGroups(s *split.TrafficSplit) (out []string) {
	for _, match := range s.Spec.Matches {
		if match.Kind == HTTPRouteGroup {
			out = append(out, key(s.Namespace, match.Name))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
