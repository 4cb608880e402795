package mesh

import (
	"cmp"
	"fmt"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// unservable says what keeps a rule from being served as written. What the proxy would not do, a
// status must not pretend: such a rule is left out.
func unservable(r *gwv1.HTTPRouteRule, field string) Verdict {
	vs := []Verdict{incomplete(r.Filters, field), incompatible(r.Filters, field), badHeaders(r.Filters, field), badAuth(r.Filters, field)}
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

// incomplete finds filters of a type that is not known, and those without what their type is about: rules of
// the CRDs keep these out, but not all versions of the CRDs have the same.
func incomplete(fs []gwv1.HTTPRouteFilter, field string) Verdict {
	for i, f := range fs {
		has, known := map[gwv1.HTTPRouteFilterType]bool{
			gwv1.HTTPRouteFilterRequestHeaderModifier:  f.RequestHeaderModifier != nil,
			gwv1.HTTPRouteFilterResponseHeaderModifier: f.ResponseHeaderModifier != nil,
			gwv1.HTTPRouteFilterRequestMirror:          f.RequestMirror != nil,
			gwv1.HTTPRouteFilterRequestRedirect:        f.RequestRedirect != nil,
			gwv1.HTTPRouteFilterURLRewrite:             f.URLRewrite != nil,
			gwv1.HTTPRouteFilterCORS:                   f.CORS != nil,
			gwv1.HTTPRouteFilterExtensionRef:           f.ExtensionRef != nil,
			gwv1.HTTPRouteFilterExternalAuth:           f.ExternalAuth != nil,
		}[f.Type]
		switch {
		case !known:
			return wrong(gwv1.RouteReasonUnsupportedValue, "%s.filters[%d].type: %q is not known: remove the filter", field, i, f.Type)
		case !has:
			return wrong(gwv1.RouteReasonUnsupportedValue, "%s.filters[%d]: a filter of type %s must say what it does, in a field of that name: add it", field, i, f.Type)
		}
	}
	return Verdict{}
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

// badMatch finds what is no path, and regular expressions that the proxy could not compile.
func badMatch(m gwv1.HTTPRouteMatch, field string) Verdict {
	if m.Path != nil && m.Path.Value != nil {
		if v := badPath(m.Path, field+".path"); !v.OK() {
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

func badPath(p *gwv1.HTTPPathMatch, field string) Verdict {
	switch *cmp.Or(p.Type, new(gwv1.PathMatchPathPrefix)) {
	case gwv1.PathMatchRegularExpression:
		return badRegex(*p.Value, field+".value")
	case gwv1.PathMatchExact, gwv1.PathMatchPathPrefix:
		if strings.HasPrefix(*p.Value, "/") && !strings.ContainsAny(*p.Value, "?#") {
			return Verdict{}
		}
		return wrong(gwv1.RouteReasonUnsupportedValue, "%s.value: %q is no path: begin it with /, and leave out what follows ? or #", field, bounded(*p.Value))
	}
	return wrong(gwv1.RouteReasonUnsupportedValue, "%s.type: %q is not known: use PathPrefix, Exact or RegularExpression", field, *p.Type)
}

func badRegex(expression, field string) Verdict {
	if err := CheckRegex(expression); err != nil {
		return wrong(gwv1.RouteReasonUnsupportedValue, "%s: %q is not a regular expression of RE2: %v", field, bounded(expression), err)
	}
	return Verdict{}
}
