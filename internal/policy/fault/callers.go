package fault

import (
	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	environmentv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/environment_variable/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// A sidecar's environment says whose it is (internal/sidecar). All sidecars have the same Routes.
const (
	ofNamespace = "POD_NAMESPACE"
	ofAccount   = "SERVICE_ACCOUNT"
)

// fromCallers does something in the sidecars of some callers; of none in particular, everywhere.
func fromCallers(from []v1alpha1.FaultCaller, do *xdsmatcherv3.Matcher_OnMatch) *xdsmatcherv3.Matcher {
	if len(from) == 0 {
		return &xdsmatcherv3.Matcher{OnNoMatch: do}
	}
	list := &xdsmatcherv3.Matcher_MatcherList{}
	for _, c := range from {
		list.Matchers = append(list.Matchers, &xdsmatcherv3.Matcher_MatcherList_FieldMatcher{Predicate: isCaller(c), OnMatch: do})
	}
	return &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: list}}
}

func isCaller(c v1alpha1.FaultCaller) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	if c.ServiceAccount == "" {
		return environmentSays(ofNamespace, c.Namespace)
	}
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_AndMatcher{
		AndMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: []*xdsmatcherv3.Matcher_MatcherList_Predicate{
			environmentSays(ofNamespace, c.Namespace), environmentSays(ofAccount, c.ServiceAccount),
		}},
	}}
}

func environmentSays(name, value string) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input: &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: packed(&environmentv3.Config{Name: name})},
			Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{
				ValueMatch: &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Exact{Exact: value}},
			},
		},
	}}
}
