package envoy

import (
	"fmt"
	"regexp"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/mesh"
)

var redirectCodes = map[int]routev3.RedirectAction_RedirectResponseCode{
	301: routev3.RedirectAction_MOVED_PERMANENTLY,
	302: routev3.RedirectAction_FOUND,
	303: routev3.RedirectAction_SEE_OTHER,
	307: routev3.RedirectAction_TEMPORARY_REDIRECT,
	308: routev3.RedirectAction_PERMANENT_REDIRECT,
}

func redirectOf(filters []gwv1.HTTPRouteFilter) *gwv1.HTTPRequestRedirectFilter {
	for _, f := range filters {
		if f.RequestRedirect != nil {
			return f.RequestRedirect
		}
	}
	return nil
}

func redirect(v mesh.VirtualHost, c candidate, r *gwv1.HTTPRequestRedirectFilter) *routev3.Route_Redirect {
	action := &routev3.RedirectAction{
		HostRedirect: string(orElse(r.Hostname, ownHost(v))),
		PortRedirect: redirectPort(v, r),
		ResponseCode: redirectCodes[orElse(r.StatusCode, 302)],
	}
	if r.Scheme != nil {
		action.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: *r.Scheme}
	}
	switch to := newPath(c, r.Path); {
	case to.regex != nil:
		action.PathRewriteSpecifier = &routev3.RedirectAction_RegexRewrite{RegexRewrite: to.regex}
	case to.prefix != "":
		action.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: to.prefix}
	}
	return &routev3.Route_Redirect{Redirect: action}
}

// ownHost is the hostname of a virtual host of one name: so Location does not repeat the port that
// the client put into its Host header. Of several names the client's is kept, port and all.
func ownHost(v mesh.VirtualHost) gwv1.PreciseHostname {
	if strings.HasPrefix(v.Domain, "*") {
		return ""
	}
	return gwv1.PreciseHostname(v.Domain)
}

// redirectPort is the port to name in Location, by the rules of HTTPRequestRedirectFilter.port; 0 when
// the scheme implies it.
func redirectPort(v mesh.VirtualHost, r *gwv1.HTTPRequestRedirectFilter) uint32 {
	wellKnown := map[string]uint32{"http": 80, "https": 443}
	scheme := "http"
	if v.TLS {
		scheme = "https"
	}
	port := v.Port
	if r.Scheme != nil {
		scheme = *r.Scheme
		port = wellKnown[scheme]
	}
	if r.Port != nil {
		port = uint32(*r.Port)
	}
	if port == wellKnown[scheme] {
		return 0
	}
	return port
}

// pathChange replaces the matched prefix, or what a regular expression finds; or nothing.
type pathChange struct {
	prefix string
	regex  *matcherv3.RegexMatchAndSubstitute
}

// newPath follows the table at HTTPPathModifier.replacePrefixMatch: with neither prefix nor
// replacement ending in a slash, a path is prefix + rest, and becomes replacement + rest, or "/"
// when that is empty.
func newPath(c candidate, m *gwv1.HTTPPathModifier) pathChange {
	switch {
	case m == nil:
		return pathChange{}
	case m.ReplaceFullPath != nil:
		return pathChange{regex: substitute("^.*$", rooted(*m.ReplaceFullPath))}
	case m.ReplacePrefixMatch == nil || c.pathType != gwv1.PathMatchPathPrefix:
		return pathChange{}
	}
	replacement := strings.TrimRight(*m.ReplacePrefixMatch, "/")
	switch {
	case replacement == "" && c.path == "":
		return pathChange{}
	case replacement == "":
		return pathChange{regex: substitute("^"+regexp.QuoteMeta(c.path)+"/*", "/")}
	case c.path == "":
		return pathChange{prefix: rooted(replacement) + "/"} // Envoy's matched prefix is "/" itself
	}
	return pathChange{prefix: rooted(replacement)}
}

// rooted is a path as it is sent: the API lets any text through.
func rooted(path string) string {
	var b strings.Builder
	b.WriteByte('/')
	for _, c := range []byte(strings.TrimLeft(path, "/")) {
		if c <= ' ' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func substitute(pattern, literal string) *matcherv3.RegexMatchAndSubstitute {
	return &matcherv3.RegexMatchAndSubstitute{
		Pattern:      &matcherv3.RegexMatcher{Regex: pattern},
		Substitution: strings.ReplaceAll(literal, `\`, `\\`),
	}
}
