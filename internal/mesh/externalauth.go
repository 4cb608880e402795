package mesh

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
)

// ExternalAuth is a server that is asked about each request of a Rule before anything is done with it.
// What it does not allow, and what it cannot be asked about, is refused.
type ExternalAuth struct {
	Cluster   string // that it is reached by; Asking it is what is asked
	Authority string // the name and port of its Service
	GRPC      bool   // it speaks Envoy's ext_authz protocol; false: HTTP
	Path      string // comes before that of requests, by HTTP; without a slash at its end
	// RequestHeaders are those of the request that it is told of: by gRPC none stand for all, by HTTP they
	// are besides Host and Authorization.
	RequestHeaders []string
	// ResponseHeaders are those of its answer that the backend is told of, by HTTP; none stand for all.
	ResponseHeaders []string
	MaxBody         uint32 // bytes of a request's body, which it is told of; 0: of none
}

// AskTimeout is how long the server of an ExternalAuth has to answer. A shorter one of the rule's request
// bounds it too.
const AskTimeout = 10 * time.Second

// asksAuth says whether a rule of these filters has its requests checked. Where it cannot be served as it
// is written it is not left out, for another rule would take its requests unchecked.
func asksAuth(fs []gwv1.HTTPRouteFilter) bool {
	return slices.ContainsFunc(fs, func(f gwv1.HTTPRouteFilter) bool { return f.Type == gwv1.HTTPRouteFilterExternalAuth })
}

// externalAuth follows the reference of an ExternalAuth filter in which badAuth finds nothing.
func (m *Mesh) externalAuth(q *incr.Query, r referrer, f *gwv1.HTTPExternalAuthFilter, field string) (*ExternalAuth, Verdict) {
	out := &ExternalAuth{GRPC: f.ExternalAuthProtocol == gwv1.HTTPRouteExternalAuthGRPCProtocol}
	r.HTTP2 = out.GRPC
	ref := f.BackendRef
	cluster, bad := m.backend(q, r, ref, field+".externalAuth.backendRef")
	if !bad.OK() {
		return nil, bad
	}
	out.Cluster = cluster
	out.Authority = authority(ref, r.Namespace)
	switch {
	case out.GRPC && f.GRPCAuthConfig != nil:
		out.RequestHeaders = f.GRPCAuthConfig.AllowedRequestHeaders
	case !out.GRPC && f.HTTPAuthConfig != nil:
		out.Path, _ = authPath(f.HTTPAuthConfig.Path)
		out.RequestHeaders, out.ResponseHeaders = f.HTTPAuthConfig.AllowedRequestHeaders, f.HTTPAuthConfig.AllowedResponseHeaders
	}
	if f.ForwardBody != nil {
		out.MaxBody = uint32(f.ForwardBody.MaxSize)
	}
	return out, Verdict{}
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
	switch f.ExternalAuthProtocol {
	case gwv1.HTTPRouteExternalAuthGRPCProtocol:
		if c := f.GRPCAuthConfig; c != nil {
			return badNames(c.AllowedRequestHeaders, field+".grpc.allowedHeaders")
		}
	case gwv1.HTTPRouteExternalAuthHTTPProtocol:
		if c := f.HTTPAuthConfig; c != nil {
			if _, ok := authPath(c.Path); !ok {
				return wrong(gwv1.RouteReasonUnsupportedValue, "%s.http.path: %q is no plain path: write it without . and .. between slashes, and without %%2F and %%5C", field, bounded(c.Path))
			}
			return first(badNames(c.AllowedRequestHeaders, field+".http.allowedHeaders"), badNames(c.AllowedResponseHeaders, field+".http.allowedResponseHeaders"))
		}
	default:
		return wrong(gwv1.RouteReasonUnsupportedValue, "%s.protocol: %q is not known: use GRPC or HTTP", field, bounded(string(f.ExternalAuthProtocol)))
	}
	return Verdict{}
}

func badNames(names []string, field string) Verdict {
	for i, name := range names {
		if !ValidHeaderName(name) {
			return wrong(gwv1.RouteReasonUnsupportedValue, "%s[%d]: %q is no header's name", field, i, bounded(name))
		}
	}
	return Verdict{}
}

// plainPath is what the experimental channel's HTTPRoute lets through.
var plainPath = regexp.MustCompile(`^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$`)

// authPath is a path as it comes before that of requests; false if servers could read it in different ways.
func authPath(p string) (string, bool) {
	plain, err := url.PathUnescape(p)
	if err != nil || !plainPath.MatchString(p) || strings.Count(plain, "/") != strings.Count(p, "/") || strings.ContainsRune(plain, '\\') {
		return "", false
	}
	for part := range strings.SplitSeq(plain, "/") {
		if part == "." || part == ".." {
			return "", false
		}
	}
	return strings.TrimSuffix(path.Clean("/"+p), "/"), true
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
