package envoy

import (
	"regexp"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/wire"
)

const corsFilter = "envoy.filters.http.cors"

func addCORS(route *routev3.Route, filters []gwv1.HTTPRouteFilter) {
	for _, f := range filters {
		if f.CORS == nil {
			continue
		}
		perFilter(route, corsFilter, corsPolicy(f.CORS))
		// Envoy answers with the request's own origin: a cache must keep the answers apart.
		route.ResponseHeadersToAdd = append(route.ResponseHeadersToAdd,
			headerValue("vary", "Origin", corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD))
		return
	}
}

func corsPolicy(c *gwv1.HTTPCORSFilter) *corsv3.CorsPolicy {
	credentials := orElse(c.AllowCredentials, false)
	policy := &corsv3.CorsPolicy{
		AllowMethods:                 list(c.AllowMethods),
		AllowHeaders:                 list(c.AllowHeaders),
		ExposeHeaders:                list(c.ExposeHeaders),
		MaxAge:                       strconv.Itoa(int(max(c.MaxAge, 0))),
		AllowCredentials:             wrapperspb.Bool(credentials),
		ForwardNotMatchingPreflights: wrapperspb.Bool(false),
	}
	if c.MaxAge == 0 {
		policy.MaxAge = "5" // the API's default
	}
	if credentials && policy.ExposeHeaders == "*" {
		policy.ExposeHeaders = "" // with credentials browsers take "*" as a header's name
	}
	for _, origin := range c.AllowOrigins {
		policy.AllowOriginStringMatch = append(policy.AllowOriginStringMatch, originMatcher(string(origin)))
	}
	return policy
}

func list[T ~string](names []T) string {
	var all []string
	for _, name := range names {
		all = append(all, string(name))
	}
	return strings.Join(all, ", ")
}

// originMatcher takes an origin as browsers send it: without the scheme's own port. A "*" in the host
// stands for one or more labels.
func originMatcher(origin string) *matcherv3.StringMatcher {
	if origin == "*" {
		return wire.Regex(".*")
	}
	scheme, host, _ := strings.Cut(origin, "://")
	host = strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[scheme])
	before, after, wild := strings.Cut(host, "*")
	if !wild {
		return wire.Exactly(scheme + "://" + host)
	}
	return wire.Regex(regexp.QuoteMeta(scheme+"://"+before) + "[^/:]+" + regexp.QuoteMeta(after))
}
