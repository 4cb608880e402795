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
	Kept    bool    // at least one rule is served as it is written
	Checked bool    // some rule has an ExternalAuth: without the route its requests would not be checked
	Remarks []string
}

// clusters are the names of the clusters of Service ports that any rule sends to, each once.
func (r resolved) clusters() []string {
	var out []string
	for _, rule := range r.Rules {
		backends := rule.sessionBackends()
		if len(backends) == 0 {
			backends = rule.Backends
		}
		for _, b := range backends {
			out = append(out, b.Cluster)
		}
		for _, m := range rule.Mirrors {
			out = append(out, m.Cluster)
		}
		if rule.Auth != nil {
			out = append(out, rule.Auth.Cluster)
		}
		for _, r := range referents(rule) {
			out = append(out, r.Reached)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// asking are the names of the clusters that questions of any rule go through.
func (r resolved) asking() (out []string) {
	for _, rule := range r.Rules {
		if rule.Auth != nil {
			out = append(out, Asking(rule.Auth.Cluster))
		}
		for _, r := range referents(rule) {
			out = append(out, r.Cluster)
		}
	}
	return out
}

// services are the keys of the Services of these, each once.
func (r resolved) services() (out []string) {
	for _, c := range r.clusters() {
		out = append(out, parseCluster(c).service)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// referrer is a route whose references are followed.
type referrer struct {
	route
	Open  bool // they cross namespaces without a grant
	HTTP2 bool // they are spoken to by HTTP/2, whatever their ports declare
}

// fail is the HTTP status of what a route cannot send anywhere: 500, or for gRPC what its clients
// take for UNAVAILABLE.
func (r referrer) fail() uint32 {
	if r.Kind == GRPCRoute {
		return 503
	}
	return 500
}

// answer is the same in words.
func (r referrer) answer() string {
	if r.Kind == GRPCRoute {
		return "answered with the status UNAVAILABLE"
	}
	return "answered 500"
}

// resolve follows the references of a route's rules as its parents have them followed: a Gateway
// asks for grants, a Service does not, for its callers can reach the other Services themselves. A
// rule that cannot be served as written is left out, unless it has an ExternalAuth; one whose references
// fail stays and answers 500, as Gateway API asks.
func (m *Mesh) resolve(q *incr.Query, k string, open bool) resolved {
	r, ok := m.route(q, k)
	if !ok {
		return resolved{}
	}
	var out resolved
	var refs, dropped []Verdict
	specs := r.rules()
	from, ambiguous := referrer{r, open, r.Kind == GRPCRoute}, false
	out.Kept = len(specs) == 0
	for i := range specs {
		spec, field := &specs[i], ruleField(i)
		var rule Rule
		var ref Verdict
		bad, checked := first(spec.Bad, unservable(&spec.HTTPRouteRule, field)), asksAuth(spec.Filters)
		if bad.OK() {
			rule, ref = m.rule(q, from, spec, field)
			rule.Origin = originOf(r, spec, i)
			bad = m.keepSessions(q, from, spec, &rule, field)
		}
		out.Checked = out.Checked || checked
		switch {
		case bad.OK():
			refs, out.Kept = append(refs, ref), true
			out.Remarks = append(out.Remarks, from.remarks(rule, spec, field)...)
		case checked:
			var whole bool
			rule, whole = refusing(from, spec)
			rule.Origin = originOf(r, spec, i)
			dropped, ambiguous = append(dropped, insteadOfAuth(bad, whole)), ambiguous || !whole
		default:
			dropped = append(dropped, bad)
			continue
		}
		out.Rules = append(out.Rules, rule)
	}
	if ambiguous {
		out.Rules, out.Kept = shut(out.Rules, from.fail()), false
	}
	out.Refs, out.Dropped = join(refs), join(dropped)
	return out
}

func originOf(r route, spec *ruleSpec, i int) Origin {
	o := Origin{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, Created: r.CreationTimestamp.Time, Index: i}
	if spec.Name != nil {
		o.RuleName = string(*spec.Name)
	}
	return o
}

// rule resolves one rule.
func (m *Mesh) rule(q *incr.Query, r referrer, spec *ruleSpec, field string) (Rule, Verdict) {
	rule := Rule{Matches: matches(spec.Matches), Calls: spec.Calls, Timeouts: spec.Timeouts, Retry: spec.Retry}
	var problems []Verdict
	for j, f := range spec.Filters {
		at := fmt.Sprintf("%s.filters[%d]", field, j)
		switch f.Type {
		case gwv1.HTTPRouteFilterRequestMirror:
			mirror, bad := m.mirror(q, r, f.RequestMirror, at)
			if problems = append(problems, bad); bad.OK() {
				rule.Mirrors = append(rule.Mirrors, mirror)
			}
		case gwv1.HTTPRouteFilterExternalAuth:
			auth, bad := m.externalAuth(q, r, f.ExternalAuth, at)
			if problems, rule.Auth = append(problems, bad), auth; !bad.OK() {
				rule.Fail = r.fail()
			}
		case gwv1.HTTPRouteFilterExtensionRef:
			rule.Fail = r.fail()
			problems = append(problems, wrong(gwv1.RouteReasonInvalidKind, "%s: filters of type %s are not supported: requests of this rule are %s", at, f.Type, r.answer()))
		default:
			rule.Filters = append(rule.Filters, f)
		}
	}
	for j, ref := range spec.BackendRefs {
		problems = append(problems, m.addBackend(q, r, &rule, ref, fmt.Sprintf("%s.backendRefs[%d]", field, j)))
	}
	if len(rule.Backends) == 0 && !slices.ContainsFunc(spec.Filters, answers) {
		rule.Fail = r.fail()
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
func (m *Mesh) addBackend(q *incr.Query, r referrer, rule *Rule, ref gwv1.HTTPBackendRef, field string) Verdict {
	one := int32(1)
	weight := uint32(*cmp.Or(ref.Weight, &one))
	name, bad := m.backend(q, r, ref.BackendObjectReference, field)
	if bad.OK() {
		bad = extension(r, ref.Filters, field)
	}
	switch {
	case weight == 0 && bad.OK():
		rule.idle = append(rule.idle, Backend{Cluster: rule.Cluster(name), Filters: ref.Filters})
	case weight == 0:
	case bad.OK():
		rule.Backends = append(rule.Backends, Backend{Cluster: rule.Cluster(name), Weight: weight, Filters: ref.Filters})
	default:
		rule.Unresolved += weight
	}
	return bad
}

func extension(r referrer, fs []gwv1.HTTPRouteFilter, field string) Verdict {
	for i, f := range fs {
		if f.Type != gwv1.HTTPRouteFilterRequestHeaderModifier && f.Type != gwv1.HTTPRouteFilterResponseHeaderModifier {
			return wrong(gwv1.RouteReasonInvalidKind, "%s.filters[%d]: type %s is not supported on a backendRef: its share of requests is %s", field, i, f.Type, r.answer())
		}
	}
	return Verdict{}
}

func (m *Mesh) mirror(q *incr.Query, r referrer, f *gwv1.HTTPRequestMirrorFilter, field string) (Mirror, Verdict) {
	name, bad := m.backend(q, r, f.BackendRef, field+".requestMirror.backendRef")
	out := Mirror{Cluster: MirrorOf(name), Numerator: 100, Denominator: 100}
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
