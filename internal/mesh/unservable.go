package mesh

import (
	"fmt"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// unservable says what keeps a rule from being served as written. What the proxy would not do, a
// status must not pretend: such a rule is left out.
func unservable(r *gwv1.HTTPRouteRule, field string) Verdict {
	vs := []Verdict{incompatible(r.Filters, field), badHeaders(r.Filters, field), badAuth(r.Filters, field)}
	for i, b := range r.BackendRefs {
		vs = append(vs, badHeaders(b.Filters, fmt.Sprintf("%s.backendRefs[%d]", field, i)))
	}
	if r.SessionPersistence != nil {
		vs = append(vs, badSession(r.SessionPersistence, field+".sessionPersistence"))
	}
	for i, m := range r.Matches {
		vs = append(vs, badMatch(m, fmt.Sprintf("%s.matches[%d]", field, i)))
	}
	return first(vs...)
}

// incompatible finds filters that exclude each other.
func incompatible(fs []gwv1.HTTPRouteFilter, field string) Verdict {
	seen := map[gwv1.HTTPRouteFilterType]bool{}
	for _, f := range fs {
		seen[f.Type] = true
	}
	if seen[gwv1.HTTPRouteFilterRequestRedirect] && seen[gwv1.HTTPRouteFilterURLRewrite] {
		return wrong(gwv1.RouteReasonIncompatibleFilters, "%s.filters: RequestRedirect and URLRewrite exclude each other: keep one", field)
	}
	return Verdict{}
}

// badMatch finds regular expressions that the proxy could not compile.
func badMatch(m gwv1.HTTPRouteMatch, field string) Verdict {
	if m.Path != nil && m.Path.Type != nil && *m.Path.Type == gwv1.PathMatchRegularExpression && m.Path.Value != nil {
		if v := badRegex(*m.Path.Value, field+".path.value"); !v.OK() {
			return v
		}
	}
	for i, h := range m.Headers {
		if h.Type != nil && *h.Type == gwv1.HeaderMatchRegularExpression {
			if v := badRegex(h.Value, fmt.Sprintf("%s.headers[%d].value", field, i)); !v.OK() {
				return v
			}
		}
	}
	for i, p := range m.QueryParams {
		if p.Type != nil && *p.Type == gwv1.QueryParamMatchRegularExpression {
			if v := badRegex(p.Value, fmt.Sprintf("%s.queryParams[%d].value", field, i)); !v.OK() {
				return v
			}
		}
	}
	return Verdict{}
}

func badRegex(expression, field string) Verdict {
	if err := CheckRegex(expression); err != nil {
		return wrong(gwv1.RouteReasonUnsupportedValue, "%s: %q is not a regular expression of RE2: %v", field, bounded(expression), err)
	}
	return Verdict{}
}
