package mesh

import (
	"cmp"
	"fmt"
	"slices"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// resolved is a route whose references were followed.
type resolved struct {
	Rules   []Rule  // those that can be served, failing ones included
	Refs    Verdict // what could not be resolved
	Dropped Verdict // rules that hold a value that cannot be served, left out
	Kept    bool    // at least one rule was kept
}

// clusters are the names of the clusters that any rule sends to, each once.
func (r resolved) clusters() []string {
	var out []string
	for _, rule := range r.Rules {
		for _, b := range rule.Backends {
			out = append(out, b.Cluster)
		}
		for _, m := range rule.Mirrors {
			out = append(out, m.Cluster)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// resolve follows the references of a route's rules. A rule that cannot be served as written is
// left out; one whose references fail stays and answers 500, as Gateway API asks.
func (m *Mesh) resolve(q *incr.Query, k string) resolved {
	r, ok := m.HTTPRoutes.Get(q, k)
	if !ok {
		return resolved{}
	}
	var out resolved
	var refs, dropped []Verdict
	for i := range r.Spec.Rules {
		spec := &r.Spec.Rules[i]
		field := fmt.Sprintf("spec.rules[%d]", i)
		if bad := unservable(spec, field); !bad.OK() {
			dropped = append(dropped, bad)
			continue
		}
		rule, bad := m.rule(q, r, spec, field)
		rule.Origin = Origin{Namespace: r.Namespace, Name: r.Name, Created: r.CreationTimestamp.Time, Index: i}
		if spec.Name != nil {
			rule.RuleName = string(*spec.Name)
		}
		out.Rules, refs = append(out.Rules, rule), append(refs, bad)
	}
	out.Refs, out.Dropped = join(refs), join(dropped)
	out.Kept = len(out.Rules) > 0 || len(r.Spec.Rules) == 0
	return out
}

// rule resolves one rule.
func (m *Mesh) rule(q *incr.Query, r *gwv1.HTTPRoute, spec *gwv1.HTTPRouteRule, field string) (Rule, Verdict) {
	rule := Rule{Matches: matches(spec.Matches), Timeouts: spec.Timeouts, Retry: spec.Retry}
	var problems []Verdict
	for j, f := range spec.Filters {
		at := fmt.Sprintf("%s.filters[%d]", field, j)
		switch f.Type {
		case gwv1.HTTPRouteFilterRequestMirror:
			mirror, bad := m.mirror(q, r, f.RequestMirror, at)
			if problems = append(problems, bad); bad.OK() {
				rule.Mirrors = append(rule.Mirrors, mirror)
			}
		case gwv1.HTTPRouteFilterExtensionRef, gwv1.HTTPRouteFilterExternalAuth:
			rule.Fail = 500
			problems = append(problems, wrong(gwv1.RouteReasonInvalidKind, "%s: filters of type %s are not supported: requests of this rule are answered 500", at, f.Type))
		default:
			rule.Filters = append(rule.Filters, f)
		}
	}
	for j, ref := range spec.BackendRefs {
		problems = append(problems, m.addBackend(q, r, &rule, ref, fmt.Sprintf("%s.backendRefs[%d]", field, j)))
	}
	if len(rule.Backends) == 0 && !slices.ContainsFunc(spec.Filters, answers) {
		rule.Fail = 500
	}
	return rule, join(problems)
}

// answers says whether a filter answers requests itself, so that no backend is needed.
func answers(f gwv1.HTTPRouteFilter) bool { return f.Type == gwv1.HTTPRouteFilterRequestRedirect }

// matches fills in what the API's defaults fill in: any path.
func matches(ms []gwv1.HTTPRouteMatch) []gwv1.HTTPRouteMatch {
	prefix, root := gwv1.PathMatchPathPrefix, "/"
	anyPath := &gwv1.HTTPPathMatch{Type: &prefix, Value: &root}
	if len(ms) == 0 {
		return []gwv1.HTTPRouteMatch{{Path: anyPath}}
	}
	out := slices.Clone(ms)
	for i := range out {
		if out[i].Path == nil {
			out[i].Path = anyPath
		}
	}
	return out
}

// addBackend puts a backendRef into its rule, or its share among the unresolved.
func (m *Mesh) addBackend(q *incr.Query, r *gwv1.HTTPRoute, rule *Rule, ref gwv1.HTTPBackendRef, field string) Verdict {
	one := int32(1)
	weight := uint32(*cmp.Or(ref.Weight, &one))
	name, bad := m.backend(q, r, ref.BackendObjectReference, field)
	if bad.OK() {
		bad = extension(ref.Filters, field)
	}
	switch {
	case weight == 0:
	case bad.OK():
		rule.Backends = append(rule.Backends, Backend{Cluster: rule.Cluster(name), Weight: weight, Filters: ref.Filters})
	default:
		rule.Unresolved += weight
	}
	return bad
}

func extension(fs []gwv1.HTTPRouteFilter, field string) Verdict {
	for i, f := range fs {
		if f.Type != gwv1.HTTPRouteFilterRequestHeaderModifier && f.Type != gwv1.HTTPRouteFilterResponseHeaderModifier {
			return wrong(gwv1.RouteReasonInvalidKind, "%s.filters[%d]: type %s is not supported on a backendRef: its share of requests is answered 500", field, i, f.Type)
		}
	}
	return Verdict{}
}

func (m *Mesh) mirror(q *incr.Query, r *gwv1.HTTPRoute, f *gwv1.HTTPRequestMirrorFilter, field string) (Mirror, Verdict) {
	name, bad := m.backend(q, r, f.BackendRef, field+".requestMirror.backendRef")
	out := Mirror{Cluster: OwnRetries(name), Numerator: 100, Denominator: 100}
	if f.Percent != nil {
		out.Numerator = uint32(*f.Percent)
	}
	if f.Fraction != nil {
		out.Numerator, out.Denominator = uint32(f.Fraction.Numerator), 100
		if f.Fraction.Denominator != nil {
			out.Denominator = uint32(*f.Fraction.Denominator)
		}
	}
	return out, bad
}
