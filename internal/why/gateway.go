package why

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// routed is what guards the rule by which a Gateway takes the request.
func (e *explaining) routed() []room.Decided {
	if e.from.Principal != "" {
		e.note("at a Gateway nobody has an identity of the mesh: only the address of %s counts", e.from.name)
	}
	if e.request == nil {
		e.check(Check{Name: "route", Why: fmt.Sprintf("listener %s serves HTTP: write METHOD and PATH", e.called.Listener)})
		return nil
	}
	query := query(e.Path)
	for _, r := range envoy.RuledRoutes(e.called.Host) {
		if narrowed(r.Match) && plainly(r.Match, e, query) {
			e.note("rule %s takes some requests only, by a policy with match: it is taken for granted that this is none of them", r.Rule.RuleID())
			continue
		}
		if !plainly(r.Match, e, query) {
			continue
		}
		e.taken = true
		if r.Rule.Fail != 0 {
			e.check(Check{Name: "route", Status: int(r.Rule.Fail), Rule: r.Rule.RuleID(), Why: fmt.Sprintf("rule %s answers all with %d: see the status of its route", r.Rule.RuleID(), r.Rule.Fail)})
			return r.Rule.Guards
		}
		e.check(Check{Name: "route", Passed: true, Rule: r.Rule.RuleID(), Why: fmt.Sprintf("listener %s has rule %s for it", e.called.Listener, r.Rule.RuleID())})
		for _, b := range r.Rule.Backends {
			e.note("what passes goes on to %s, where it is decided upon again: ask with gateway/%s as SRC", b.Cluster, strings.TrimPrefix(e.called.Name, "Gateway "))
		}
		if r.Rule.Auth != nil {
			e.note("the route has requests checked by a server of external authorization, which is taken to allow this one")
		}
		return r.Rule.Guards
	}
	e.check(Check{Name: "route", Status: http.StatusNotFound, Why: fmt.Sprintf("no rule of a route takes it at listener %s: proxies answer 404", e.called.Listener)})
	return nil
}

// query are the parameters of a path.
func query(sent string) url.Values {
	_, text, _ := strings.Cut(sent, "?")
	out, _ := url.ParseQuery(text) // what is malformed is no parameter
	return out
}

// narrowed says whether more is asked of a request than what it says itself.
func narrowed(m *routev3.RouteMatch) bool {
	return len(m.FilterState)+len(m.DynamicMetadata) > 0 || m.RuntimeFraction != nil
}

// plainly says whether a request is one that is matched, by what it says itself.
func plainly(m *routev3.RouteMatch, e *explaining, query url.Values) bool {
	return atPath(m, e.request.Path) &&
		!slices.ContainsFunc(m.Headers, func(h *routev3.HeaderMatcher) bool { return !hasHeader(h, e) }) &&
		!slices.ContainsFunc(m.QueryParameters, func(p *routev3.QueryParameterMatcher) bool {
			return !query.Has(p.Name) || p.GetStringMatch() != nil && !matched(p.GetStringMatch(), query.Get(p.Name))
		})
}

func atPath(m *routev3.RouteMatch, path string) bool {
	switch p := m.PathSpecifier.(type) {
	case *routev3.RouteMatch_Path:
		return path == p.Path
	case *routev3.RouteMatch_Prefix:
		return strings.HasPrefix(path, p.Prefix)
	case *routev3.RouteMatch_PathSeparatedPrefix:
		return path == p.PathSeparatedPrefix || strings.HasPrefix(path, p.PathSeparatedPrefix+"/")
	case *routev3.RouteMatch_SafeRegex:
		return matches(p.SafeRegex.Regex, path)
	}
	return false
}

func hasHeader(h *routev3.HeaderMatcher, e *explaining) bool {
	value, is := e.request.Headers[strings.ToLower(h.Name)]
	switch h.Name {
	case ":method":
		value, is = e.request.Method, true
	case ":authority":
		value, is = e.Host, true
	}
	ok := is
	if m := h.GetStringMatch(); m != nil {
		ok = is && matched(m, value)
	} else if _, asks := h.HeaderMatchSpecifier.(*routev3.HeaderMatcher_PresentMatch); asks {
		ok = is == h.GetPresentMatch()
	}
	return ok != h.InvertMatch
}

func matched(m *matcherv3.StringMatcher, s string) bool {
	switch p := m.MatchPattern.(type) {
	case *matcherv3.StringMatcher_Exact:
		return s == p.Exact
	case *matcherv3.StringMatcher_Prefix:
		return strings.HasPrefix(s, p.Prefix)
	case *matcherv3.StringMatcher_Suffix:
		return strings.HasSuffix(s, p.Suffix)
	case *matcherv3.StringMatcher_Contains:
		return strings.Contains(s, p.Contains)
	case *matcherv3.StringMatcher_SafeRegex:
		return matches(p.SafeRegex.Regex, s)
	}
	return false
}

// matches says whether an expression, as Envoy has it, matches all of a text.
func matches(expression, text string) bool {
	e, err := regexp.Compile("^(?:" + expression + ")$")
	return err == nil && e.MatchString(text)
}
