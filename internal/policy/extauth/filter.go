package extauth

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/policy/room"
)

// Read is what a filter ExternalAuth in which Problem finds nothing asks, without where.
func Read(f *gwv1.HTTPExternalAuthFilter) (out Question) {
	out.GRPC = f.ExternalAuthProtocol == gwv1.HTTPRouteExternalAuthGRPCProtocol
	switch {
	case out.GRPC && f.GRPCAuthConfig != nil:
		out.RequestHeaders = f.GRPCAuthConfig.AllowedRequestHeaders
	case !out.GRPC && f.HTTPAuthConfig != nil:
		out.Path, _ = plain(f.HTTPAuthConfig.Path)
		out.RequestHeaders, out.ResponseHeaders = f.HTTPAuthConfig.AllowedRequestHeaders, f.HTTPAuthConfig.AllowedResponseHeaders
	}
	if f.ForwardBody != nil {
		out.MaxBody = uint32(f.ForwardBody.MaxSize)
	}
	return out
}

// Problem says what keeps requests from being checked as a filter is written, beginning with the field in it; "":
// nothing.
func Problem(f *gwv1.HTTPExternalAuthFilter) string {
	switch f.ExternalAuthProtocol {
	case gwv1.HTTPRouteExternalAuthGRPCProtocol:
		if c := f.GRPCAuthConfig; c != nil {
			return noNames(c.AllowedRequestHeaders, ".grpc.allowedHeaders")
		}
	case gwv1.HTTPRouteExternalAuthHTTPProtocol:
		if c := f.HTTPAuthConfig; c != nil {
			return ofHTTP(c)
		}
	default:
		return fmt.Sprintf(".protocol: %.1024q is not known: use GRPC or HTTP", string(f.ExternalAuthProtocol))
	}
	return ""
}

func ofHTTP(c *gwv1.HTTPAuthConfig) string {
	if _, ok := plain(c.Path); !ok {
		return fmt.Sprintf(".http.path: %.1024q is no plain path: write it without . and .. between slashes, and without %%2F and %%5C", c.Path)
	}
	if problem := noNames(c.AllowedRequestHeaders, ".http.allowedHeaders"); problem != "" {
		return problem
	}
	return noNames(c.AllowedResponseHeaders, ".http.allowedResponseHeaders")
}

func noNames(names []string, field string) string {
	for i, name := range names {
		if !room.HeaderName(name) {
			return fmt.Sprintf("%s[%d]: %.1024q is no header's name", field, i, name)
		}
	}
	return ""
}

// plainPath is what the experimental channel's HTTPRoute lets through.
var plainPath = regexp.MustCompile(`^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$`)

// plain is a path as it comes before that of requests; false if servers could read it in different ways.
func plain(p string) (string, bool) {
	decoded, err := url.PathUnescape(p)
	if err != nil || !plainPath.MatchString(p) || strings.Count(decoded, "/") != strings.Count(p, "/") || strings.ContainsRune(decoded, '\\') {
		return "", false
	}
	for part := range strings.SplitSeq(decoded, "/") {
		if part == "." || part == ".." {
			return "", false
		}
	}
	return strings.TrimSuffix(path.Clean("/"+p), "/"), true
}
