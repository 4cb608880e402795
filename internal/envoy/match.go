package envoy

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/wire"
)

// candidate is one match of one rule.
type candidate struct {
	rule     *mesh.Rule
	index    int // of the match within the rule
	pathType gwv1.PathMatchType
	path     string // a prefix is without its trailing slash: "/" is ""
	method   string // empty for any
	headers  []gwv1.HTTPHeaderMatch
	params   []gwv1.HTTPQueryParamMatch
	call     gwv1.GRPCMethodMatch // of a GRPCRoute's
	narrowed int                  // 1 if a policy narrows the rule
}

// candidates lists every match of every rule, the first to be tried first.
func candidates(rules []mesh.Rule) []candidate {
	var all []candidate
	for i := range rules {
		for j, match := range rules[i].Matches {
			all = append(all, newCandidate(&rules[i], j, match))
		}
	}
	slices.SortStableFunc(all, candidate.compare)
	return all
}

func newCandidate(rule *mesh.Rule, index int, m gwv1.HTTPRouteMatch) candidate {
	c := candidate{
		rule: rule, index: index, pathType: gwv1.PathMatchPathPrefix,
		headers: firstNamed(m.Headers, func(h gwv1.HTTPHeaderMatch) string { return strings.ToLower(string(h.Name)) }),
		params:  firstNamed(m.QueryParams, func(p gwv1.HTTPQueryParamMatch) string { return string(p.Name) }),
	}
	if len(rule.Calls) > 0 {
		c.call = rule.Calls[index]
	}
	if slices.ContainsFunc(rule.Policies, policy.Narrows) {
		c.narrowed = 1
	}
	if m.Method != nil {
		c.method = string(*m.Method)
	}
	if m.Path != nil {
		c.pathType, c.path = orElse(m.Path.Type, c.pathType), orElse(m.Path.Value, "/")
	}
	if c.pathType == gwv1.PathMatchPathPrefix {
		c.path = strings.TrimRight(c.path, "/")
	}
	return c
}

// firstNamed keeps the first entry of each name: Gateway API has the later ones ignored.
func firstNamed[T any](entries []T, name func(T) string) []T {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(entries), func(e T) bool {
		repeated := seen[name(e)]
		seen[name(e)] = true
		return repeated
	})
}

func orElse[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// compare is the precedence that HTTPRouteRule.matches prescribes, and first what GRPCRouteRule.matches
// does. The former leaves regular expressions to implementations: here they come before prefixes, for
// after them any rule for "/" would hide them.
func (c candidate) compare(d candidate) int {
	return cmp.Or(
		cmp.Compare(length(d.call.Service), length(c.call.Service)),
		cmp.Compare(length(d.call.Method), length(c.call.Method)),
		cmp.Compare(c.rank(), d.rank()),
		cmp.Compare(utf8.RuneCountInString(d.path), utf8.RuneCountInString(c.path)),
		cmp.Compare(min(len(d.method), 1), min(len(c.method), 1)),
		cmp.Compare(len(d.headers), len(c.headers)),
		cmp.Compare(len(d.params), len(c.params)),
		cmp.Compare(d.narrowed, c.narrowed), // or it would never take what another one takes
		c.rule.Compare(d.rule.Origin),
		cmp.Compare(c.index, d.index),
	)
}

func length(s *string) int { return utf8.RuneCountInString(orElse(s, "")) }

func (c candidate) rank() int {
	return slices.Index([]gwv1.PathMatchType{
		gwv1.PathMatchExact, gwv1.PathMatchRegularExpression, gwv1.PathMatchPathPrefix,
	}, c.pathType)
}

func (c candidate) routeMatch() *routev3.RouteMatch {
	m := &routev3.RouteMatch{}
	switch {
	case c.pathType == gwv1.PathMatchExact:
		m.PathSpecifier = &routev3.RouteMatch_Path{Path: c.path}
	case c.pathType == gwv1.PathMatchRegularExpression:
		m.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: c.path}}
	case c.path == "":
		m.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/"}
	default:
		m.PathSpecifier = &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: c.path}
	}
	if c.method != "" {
		m.Headers = append(m.Headers, wire.Header(":method", wire.Exactly(c.method)))
	}
	for _, h := range c.headers {
		m.Headers = append(m.Headers, wire.HeaderMatch(h))
	}
	for _, p := range c.params {
		m.QueryParameters = append(m.QueryParameters, queryMatcher(p))
	}
	narrow(m, c.rule.Policies)
	return m
}

func queryMatcher(p gwv1.HTTPQueryParamMatch) *routev3.QueryParameterMatcher {
	value := wire.Exactly(p.Value)
	if orElse(p.Type, gwv1.QueryParamMatchExact) == gwv1.QueryParamMatchRegularExpression {
		value = wire.Regex(p.Value)
	}
	return &routev3.QueryParameterMatcher{
		Name:                         string(p.Name),
		QueryParameterMatchSpecifier: &routev3.QueryParameterMatcher_StringMatch{StringMatch: value},
	}
}
