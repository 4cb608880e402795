package room

import (
	"regexp"
	"strings"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/wire"
)

// All sidecars have the same Routes. Whose a sidecar is, its environment says (internal/sidecar).
const (
	// Caller is how Envoy's formatters write whose a sidecar is.
	Caller = "%ENVIRONMENT(POD_NAMESPACE)%/%ENVIRONMENT(SERVICE_ACCOUNT)%"
	// CallerState is the filter state in which connections of apps, and so their requests, have the Caller.
	CallerState = "weft.caller"
)

// AnyOf matches a Caller that is one of some.
func AnyOf(from []v1alpha1.Caller) *matcherv3.StringMatcher {
	var ways []string
	for _, c := range from {
		account := "[^/]*"
		if c.ServiceAccount != "" {
			account = regexp.QuoteMeta(c.ServiceAccount)
		}
		ways = append(ways, regexp.QuoteMeta(c.Namespace)+"/"+account)
	}
	return wire.Regex(strings.Join(ways, "|"))
}
