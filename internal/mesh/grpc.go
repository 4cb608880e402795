package mesh

import (
	"cmp"
	"fmt"
	"regexp"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ruleSpec is a rule as it was written: a GRPCRoute's in the words of HTTP.
type ruleSpec struct {
	gwv1.HTTPRouteRule
	Calls []gwv1.GRPCMethodMatch // of a GRPCRoute's: what each of Matches says of the method
	Bad   Verdict                // what has no words in HTTP
}

// rules are a route's.
func (r route) rules() []ruleSpec {
	var out []ruleSpec
	if r.http != nil {
		for _, spec := range r.http.Rules {
			out = append(out, ruleSpec{HTTPRouteRule: spec})
		}
		return out
	}
	if r.bytes != nil {
		return byteRules(r.bytes)
	}
	if r.grpc == nil {
		return nil
	}
	for i, spec := range r.grpc.Rules {
		out = append(out, grpcRule(spec, ruleField(i)))
	}
	return out
}

func ruleField(i int) string { return fmt.Sprintf("spec.rules[%d]", i) }

func grpcRule(spec gwv1.GRPCRouteRule, field string) ruleSpec {
	out := ruleSpec{HTTPRouteRule: gwv1.HTTPRouteRule{
		Name: spec.Name, Filters: grpcFilters(spec.Filters), SessionPersistence: spec.SessionPersistence,
	}}
	if len(spec.Matches) == 0 {
		spec.Matches = []gwv1.GRPCRouteMatch{{}}
	}
	for i, m := range spec.Matches {
		call := gwv1.GRPCMethodMatch{}
		if m.Method != nil {
			call = *m.Method
		}
		out.Bad = first(out.Bad, badCall(call, fmt.Sprintf("%s.matches[%d].method", field, i)))
		out.Calls = append(out.Calls, call)
		out.Matches = append(out.Matches, gwv1.HTTPRouteMatch{Path: callPath(call), Headers: grpcHeaders(m.Headers)})
	}
	for _, b := range spec.BackendRefs {
		out.BackendRefs = append(out.BackendRefs, gwv1.HTTPBackendRef{BackendRef: b.BackendRef, Filters: grpcFilters(b.Filters)})
	}
	return out
}

// callPath is the path that gRPC makes of a method: "/service/method".
func callPath(c gwv1.GRPCMethodMatch) *gwv1.HTTPPathMatch {
	path := func(t gwv1.PathMatchType, value string) *gwv1.HTTPPathMatch {
		return &gwv1.HTTPPathMatch{Type: &t, Value: &value}
	}
	service, method := *cmp.Or(c.Service, new("")), *cmp.Or(c.Method, new(""))
	switch {
	case service == "" && method == "":
		return path(gwv1.PathMatchPathPrefix, "/")
	case ofCall(c) == gwv1.GRPCMethodMatchRegularExpression:
		return path(gwv1.PathMatchRegularExpression, "/"+oneOf(service)+"/"+oneOf(method))
	case service == "":
		return path(gwv1.PathMatchRegularExpression, "/[^/]+/"+regexp.QuoteMeta(method))
	case method == "":
		return path(gwv1.PathMatchPathPrefix, "/"+service)
	}
	return path(gwv1.PathMatchExact, "/"+service+"/"+method)
}

func ofCall(c gwv1.GRPCMethodMatch) gwv1.GRPCMethodMatchType {
	return *cmp.Or(c.Type, new(gwv1.GRPCMethodMatchExact))
}

func oneOf(expression string) string {
	if expression == "" {
		return "[^/]+"
	}
	return "(?:" + expression + ")"
}

// badCall finds what a proxy could not match by.
func badCall(c gwv1.GRPCMethodMatch, field string) Verdict {
	switch ofCall(c) {
	case gwv1.GRPCMethodMatchExact:
		return Verdict{}
	case gwv1.GRPCMethodMatchRegularExpression:
		return first(badPart(c.Service, field+".service"), badPart(c.Method, field+".method"), badRegex(*callPath(c).Value, field))
	}
	return wrong(gwv1.RouteReasonUnsupportedValue, "%s.type: %q is not known: use Exact or RegularExpression", field, *c.Type)
}

func badPart(expression *string, field string) Verdict {
	if expression == nil || *expression == "" {
		return Verdict{}
	}
	return badRegex(*expression, field)
}

func grpcHeaders(headers []gwv1.GRPCHeaderMatch) []gwv1.HTTPHeaderMatch {
	var out []gwv1.HTTPHeaderMatch
	for _, h := range headers {
		to := gwv1.HTTPHeaderMatch{Name: gwv1.HTTPHeaderName(h.Name), Value: h.Value}
		if h.Type != nil {
			to.Type = new(gwv1.HeaderMatchType(*h.Type))
		}
		out = append(out, to)
	}
	return out
}

func grpcFilters(filters []gwv1.GRPCRouteFilter) []gwv1.HTTPRouteFilter {
	var out []gwv1.HTTPRouteFilter
	for _, f := range filters {
		out = append(out, gwv1.HTTPRouteFilter{
			Type:                   gwv1.HTTPRouteFilterType(f.Type),
			RequestHeaderModifier:  f.RequestHeaderModifier,
			ResponseHeaderModifier: f.ResponseHeaderModifier,
			RequestMirror:          f.RequestMirror,
			ExtensionRef:           f.ExtensionRef,
		})
	}
	return out
}
