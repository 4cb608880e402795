package mesh

import (
	"cmp"
	"fmt"
	"slices"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/extauth"
)

// asksAuth says whether a rule of these filters has its requests checked. Where it cannot be served as it
// is written it is not left out, for another rule would take its requests unchecked.
func asksAuth(fs []gwv1.HTTPRouteFilter) bool {
	return slices.ContainsFunc(fs, func(f gwv1.HTTPRouteFilter) bool { return f.Type == gwv1.HTTPRouteFilterExternalAuth })
}

// externalAuth follows the reference of an ExternalAuth filter in which badAuth finds nothing.
func (m *Mesh) externalAuth(q *incr.Query, r referrer, f *gwv1.HTTPExternalAuthFilter, field string) (*extauth.Question, Verdict) {
	out := extauth.Read(f)
	r.HTTP2 = out.GRPC
	cluster, bad := m.backend(q, r, f.BackendRef, field+".externalAuth.backendRef")
	if !bad.OK() {
		return nil, bad
	}
	out.Cluster, out.Authority = cluster, authority(f.BackendRef, r.Namespace)
	return &out, Verdict{}
}

// authority is the name of a server that an object in a namespace refers to, as questions to it have it.
func authority(ref gwv1.BackendObjectReference, from string) string {
	return fmt.Sprintf("%s.%s.svc:%d", ref.Name, *cmp.Or(ref.Namespace, new(gwv1.Namespace(from))), *ref.Port)
}

// badAuth finds what keeps requests from being checked as it is written.
func badAuth(fs []gwv1.HTTPRouteFilter, field string) Verdict {
	first := -1
	for i, f := range fs {
		if f.Type != gwv1.HTTPRouteFilterExternalAuth {
			continue
		}
		at := fmt.Sprintf("%s.filters[%d]", field, i)
		if first >= 0 {
			return wrong(gwv1.RouteReasonIncompatibleFilters, "%s: %s.filters[%d] is of type ExternalAuth too, which a rule may have once: keep one", at, field, first)
		}
		if bad := badAuthFilter(f.ExternalAuth, at+".externalAuth"); !bad.OK() {
			return bad
		}
		first = i
	}
	return Verdict{}
}

func badAuthFilter(f *gwv1.HTTPExternalAuthFilter, field string) Verdict {
	if f == nil {
		return wrong(gwv1.RouteReasonUnsupportedValue, "%s is missing: say whom to ask", field)
	}
	if problem := extauth.Problem(f); problem != "" {
		return wrong(gwv1.RouteReasonUnsupportedValue, "%s%s", field, problem)
	}
	return Verdict{}
}

// refusing is a rule with an ExternalAuth that cannot be served as it is written: it answers its requests
// as far as they can be told by its matches. Whole says that they can.
func refusing(r referrer, spec *ruleSpec) (rule Rule, whole bool) {
	rule = Rule{Fail: r.fail()}
	all := matches(spec.Matches)
	for i, m := range all {
		if badMatch(m, "").OK() {
			rule.Matches = append(rule.Matches, all[i])
		}
	}
	return rule, len(rule.Matches) == len(all)
}

// insteadOfAuth adds to what is wrong with a rule what becomes of the requests that it would have had checked.
func insteadOfAuth(bad Verdict, whole bool) Verdict {
	if whole {
		bad.Message += " (its requests are answered 500, for they would have been checked)"
	} else {
		bad.Message += " (all requests of this route are answered 500, for which of them would have been checked is not known)"
	}
	return bad
}

// shut are the rules of a route of which nothing may pass, for the requests of one cannot be told from the
// others', and it would have had them checked. They answer what can be told without regular expressions.
func shut(rules []Rule, fail uint32) (out []Rule) {
	for _, r := range rules {
		closed := Rule{Origin: r.Origin, Fail: fail}
		for _, m := range r.Matches {
			if !byRegex(m) {
				closed.Matches = append(closed.Matches, m)
			}
		}
		if len(closed.Matches) > 0 {
			out = append(out, closed)
		}
	}
	return out
}

// byRegex says whether a match is by a regular expression.
func byRegex(m gwv1.HTTPRouteMatch) bool {
	return m.Path != nil && m.Path.Type != nil && *m.Path.Type == gwv1.PathMatchRegularExpression ||
		slices.ContainsFunc(m.Headers, func(h gwv1.HTTPHeaderMatch) bool {
			return h.Type != nil && *h.Type == gwv1.HeaderMatchRegularExpression
		}) ||
		slices.ContainsFunc(m.QueryParams, func(p gwv1.HTTPQueryParamMatch) bool {
			return p.Type != nil && *p.Type == gwv1.QueryParamMatchRegularExpression
		})
}

// servedRules are a route's rules as proxies get them: of one in quarantine none, or if some would have had
// requests checked, those of shut.
func (m *Mesh) servedRules(q *incr.Query, k string, r resolved) []Rule {
	switch {
	case m.quarantined(q, k).OK():
		return r.Rules
	case r.Checked:
		return shut(r.Rules, 500)
	}
	return nil
}
