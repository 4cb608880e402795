package room

import (
	"regexp"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	networkinputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
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
func AnyOf(from []v1alpha1.Caller) *matcherv3.StringMatcher { return wire.Regex(oneOf(from)) }

// Calls is a matcher's predicate that is true of what one of some callers sends.
func Calls(from []v1alpha1.Caller) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input: &xdscorev3.TypedExtensionConfig{Name: "caller", TypedConfig: wire.Any(&networkinputsv3.FilterStateInput{Key: CallerState})},
			Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: &xdsmatcherv3.StringMatcher{
				MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{SafeRegex: &xdsmatcherv3.RegexMatcher{
					EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}},
					Regex:      oneOf(from),
				}},
			}},
		},
	}}
}

func oneOf(from []v1alpha1.Caller) string {
	var ways []string
	for _, c := range from {
		account := "[^/]*"
		if c.ServiceAccount != "" {
			account = regexp.QuoteMeta(c.ServiceAccount)
		}
		ways = append(ways, regexp.QuoteMeta(c.Namespace)+"/"+account)
	}
	return strings.Join(ways, "|")
}
