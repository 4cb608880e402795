package room

import (
	"regexp"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
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

// State keeps a text, which Envoy's formatters may write, as the filter state of a name.
func State(name, format string, formatters ...*corev3.TypedExtensionConfig) *filterstatev3.FilterStateValue {
	return &filterstatev3.FilterStateValue{
		Key:        &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: name},
		FactoryKey: "envoy.string",
		Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: format},
			}},
			Formatters: formatters,
		}},
	}
}

// StateIs takes what has a filter state of a name that a matcher takes.
func StateIs(name string, by *matcherv3.StringMatcher) *matcherv3.FilterStateMatcher {
	return &matcherv3.FilterStateMatcher{Key: name, Matcher: &matcherv3.FilterStateMatcher_StringMatch{StringMatch: by}}
}

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
