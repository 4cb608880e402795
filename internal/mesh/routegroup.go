package mesh

import (
	"errors"
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"
	"strings"

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
			return wrong(specs.ReasonInvalidMatch, "%s.pathRegex: %q is not a regular expression of RE2: %v%s", field, bounded(match.PathRegex), err, dialect(err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(match.Headers)) {
		if !ValidHeaderName(name) {
			return wrong(specs.ReasonInvalidMatch, "%s.headers: %q is no header's name: %s", field, bounded(name), nameRemedy(name))
		}
		if err := CheckRegex(string(match.Headers[name])); err != nil {
			return wrong(specs.ReasonInvalidMatch, "%s.headers[%s]: %q is not a regular expression of RE2: %v%s", field, name, bounded(string(match.Headers[name])), err, dialect(err))
		}
	}
	return Verdict{}
}

// nameRemedy is for what is no header's name.
func nameRemedy(name string) string {
	if strings.HasPrefix(name, ":") {
		return "describe methods by methods, and paths by pathRegex"
	}
	return "write letters, digits and - alone"
}

// dialect is what to write instead where an expression is of another dialect; "" where that is not known.
func dialect(err error) string {
	var parsing *syntax.Error
	if !errors.As(err, &parsing) {
		return ""
	}
	switch parsing.Code {
	case syntax.ErrMissingRepeatArgument, syntax.ErrInvalidRepeatOp:
		return ": write .* for anything"
	case syntax.ErrInvalidEscape:
		return ": RE2 has no such escape, nor references to what was matched before"
	case syntax.ErrInvalidPerlOp:
		return ": RE2 looks neither ahead nor back: write what is meant, not what is not"
	}
	return ""
}

// badHTTPMatches are the problems of a group's matches.
func badHTTPMatches(g *specs.HTTPRouteGroup) Verdict {
	if len(g.Spec.Matches) == 0 {
		return wrong(specs.ReasonInvalidMatch, "spec.matches is empty, and describes no request: write one with a name and methods, pathRegex or headers; name: all, pathRegex: .* describes all")
	}
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
	users := m.groupUsers(q, k)
	st := specStatus(g.Generation, bad, users)
	if said := groupRemarks(g, users); bad.OK() && len(said) > 0 {
		for i := range st.Conditions {
			st.Conditions[i].Message = bounded(st.Conditions[i].Message + " But " + strings.Join(said, "; ") + ".")
		}
	}
	return st
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
