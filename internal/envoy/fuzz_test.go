package envoy_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/extauth"
)

// What the API server lets into an HTTPRoute.
var (
	anyPath   = regexp.MustCompile(`^/([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$`)
	anyName   = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+\-.^_|~` + "`" + `]{1,256}$`)
	anyOrigin = regexp.MustCompile(`(^\*$)|(^(http(s)?):\/\/(((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)$)`)
)

// Whatever rules say, the virtual host that comes of them is one that Envoy's own checks take, and is
// the same each time.
func FuzzVirtualHost(f *testing.F) {
	f.Add("/a", "/b/", `/c\d+`, "x-a", "value", "https://*.test", "1s", uint32(3), uint32(1), uint16(0))
	f.Add("/", "", ".*", "HOST", "%REQ(a)%", "*", "0s", uint32(0), uint32(0), uint16(0xffff))
	f.Add("/a%2F", "b?c#d", `[^/]+`, "a", "b", "http://a:80", "junk", uint32(1<<31), uint32(7), uint16(0x0f0f))
	f.Fuzz(func(t *testing.T, path, replacement, regex, name, value, origin, duration string, weight, part uint32, choice uint16) {
		if !anyPath.MatchString(path) || strings.Contains(path, "//") || !anyName.MatchString(name) || value == "" ||
			!anyOrigin.MatchString(origin) || mesh.CheckRegex(regex) != nil || !utf8.ValidString(value+replacement) {
			t.Skip()
		}
		v := mesh.VirtualHost{Routes: "routes", Domain: "*", Port: part % 65536, TLS: choice&1 != 0}
		for bit := range 3 {
			v.Rules = append(v.Rules, anyRule(bit, path, replacement, regex, name, value, origin, duration, weight, part, choice>>bit))
		}
		got := envoy.VirtualHost(v)
		if err := got.ValidateAll(); err != nil {
			t.Errorf("%v in %v", err, got)
		}
		if !proto.Equal(got, envoy.VirtualHost(v)) {
			t.Errorf("another time it is not %v", got)
		}
	})
}

func anyRule(index int, path, replacement, regex, name, value, origin, duration string, weight, part uint32, choice uint16) mesh.Rule {
	span := gwv1.Duration(duration)
	rule := mesh.Rule{Origin: mesh.Origin{Namespace: "a", Name: "b", Index: index}, Unresolved: part, Matches: anyMatches(path, regex, name, value)}
	if choice&2 != 0 {
		rule.Timeouts = &gwv1.HTTPRouteTimeouts{Request: &span, BackendRequest: &span}
		attempts := int(weight % 1000)
		rule.Retry = &gwv1.HTTPRouteRetry{Attempts: &attempts, Backoff: &span, Codes: []gwv1.HTTPRouteRetryStatusCode{503}}
	}
	headers := &gwv1.HTTPHeaderFilter{
		Set: []gwv1.HTTPHeader{{Name: gwv1.HTTPHeaderName(name), Value: value}}, Remove: []string{name, value},
		Add: []gwv1.HTTPHeader{{Name: "Host", Value: value}},
	}
	modify := []gwv1.HTTPRouteFilter{{RequestHeaderModifier: headers}, {ResponseHeaderModifier: headers}}
	if choice&4 != 0 {
		rule.Filters = append(rule.Filters, modify...)
		rule.Filters = append(rule.Filters, gwv1.HTTPRouteFilter{CORS: &gwv1.HTTPCORSFilter{AllowOrigins: []gwv1.CORSOrigin{gwv1.CORSOrigin(origin)}}})
	}
	rule.Filters = append(rule.Filters, rewriting(replacement, choice)...)
	if choice&256 != 0 {
		rule.Auth = &extauth.Question{Cluster: "c", Authority: "c.a.svc:80", GRPC: choice&512 != 0, Path: path, RequestHeaders: []string{value}, ResponseHeaders: []string{name, value}, MaxBody: part % 65536}
	}
	if choice&32 != 0 {
		rule.Backends = []mesh.Backend{{Cluster: "a", Weight: max(weight%1_000_001, 1), Filters: modify}, {Cluster: "b", Weight: 1}}
		rule.Mirrors = []mesh.Mirror{{Cluster: "m", Numerator: weight, Denominator: part}}
	}
	return rule
}

func anyMatches(path, regex, name, value string) []gwv1.HTTPRouteMatch {
	matching := gwv1.HeaderMatchRegularExpression
	method := gwv1.HTTPMethodPatch
	var all []gwv1.HTTPRouteMatch
	for _, kind := range []gwv1.PathMatchType{gwv1.PathMatchExact, gwv1.PathMatchPathPrefix, gwv1.PathMatchRegularExpression} {
		p := path
		if kind == gwv1.PathMatchRegularExpression {
			p = regex
		}
		all = append(all, gwv1.HTTPRouteMatch{
			Path:    &gwv1.HTTPPathMatch{Type: &kind, Value: &p},
			Method:  &method,
			Headers: []gwv1.HTTPHeaderMatch{{Name: gwv1.HTTPHeaderName(name), Value: value}, {Name: "host", Type: &matching, Value: regex}},
		})
	}
	return append(all, gwv1.HTTPRouteMatch{QueryParams: []gwv1.HTTPQueryParamMatch{{Name: gwv1.HTTPHeaderName(name), Value: value}}})
}

func rewriting(replacement string, choice uint16) []gwv1.HTTPRouteFilter {
	change := &gwv1.HTTPPathModifier{ReplaceFullPath: &replacement}
	if choice&8 != 0 {
		change = &gwv1.HTTPPathModifier{ReplacePrefixMatch: &replacement}
	}
	scheme := "https"
	if choice&16 != 0 {
		return []gwv1.HTTPRouteFilter{{RequestRedirect: &gwv1.HTTPRequestRedirectFilter{Scheme: &scheme, Path: change}}}
	}
	return []gwv1.HTTPRouteFilter{{URLRewrite: &gwv1.HTTPURLRewriteFilter{Path: change}}}
}
