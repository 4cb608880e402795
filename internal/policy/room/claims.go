package room

import (
	"cmp"
	"math"
	"slices"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	networkinputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/metadata/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/wire"
)

// Where the claims of verified tokens are, for sections that go by them.
//
//	section jwt: a token is verified → dynamic metadata of the request → authorization, limits, faults
//	             and before that, where rules or callers' sidecars ask for it → rules that take some requests, faults
//
// Only Envoy's jwt_authn filter writes there, and only what it has verified; no client can. Where no policy
// demands a token, or none has been verified yet, there is nothing, so that who looks for a claim finds none:
// what is missing must never be an allowance.
//
// Policies of several levels may each demand another token. Whoever writes an inner policy must not have a say in
// what an outer one goes by: so each level has its claims under a key of its own, and a policy goes by those that
// ClaimsFor its level.
const (
	// ClaimsNamespace is the namespace of that metadata, in which what a filter verified is under its key.
	ClaimsNamespace = "envoy.filters.http.jwt_authn"
	// Claims is the key of the payload of the token which the outermost level accepted that demands one,
	// whichever provider of it did: {"iss": ..., "sub": ..., ...} in JSON's own types. The claim "scope", where
	// it is a string, is a list of its words here.
	Claims = "claims"
	// noClaims is a key under which there never are any.
	noClaims = "none"
)

// RoutingClaims is the key of the payload of a token that is verified before the Route is chosen, without regard to
// whether it must be there: one that those policies accept together, which are all that demand one at a level.
func RoutingClaims(policies []string) string { return "routing " + strings.Join(policies, " ") }

// ClaimIs takes what has a claim as it is said, in the claims under a key; nothing without a key.
func ClaimIs(key string, c v1alpha1.RequiredClaim) *matcherv3.MetadataMatcher {
	m := &matcherv3.MetadataMatcher{Filter: ClaimsNamespace, Value: claimValue(c)}
	for _, name := range claimPath(key, c) {
		m.Path = append(m.Path, &matcherv3.MetadataMatcher_PathSegment{Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: name}})
	}
	return m
}

// HasClaims is a matcher's predicate that is true of what has all of some claims, as ClaimIs says.
func HasClaims(key string, all []v1alpha1.RequiredClaim) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	var each []*xdsmatcherv3.Matcher_MatcherList_Predicate
	for _, c := range all {
		each = append(each, hasClaim(key, c))
	}
	if len(each) == 1 {
		return each[0] // Envoy takes lists of two or more
	}
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_AndMatcher{
		AndMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: each},
	}}
}

func hasClaim(key string, c v1alpha1.RequiredClaim) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	at := &networkinputsv3.DynamicMetadataInput{Filter: ClaimsNamespace}
	for _, name := range claimPath(key, c) {
		at.Path = append(at.Path, &networkinputsv3.DynamicMetadataInput_PathSegment{Segment: &networkinputsv3.DynamicMetadataInput_PathSegment_Key{Key: name}})
	}
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input: &xdscorev3.TypedExtensionConfig{Name: "claim", TypedConfig: wire.Any(at)},
			Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_CustomMatch{
				CustomMatch: &xdscorev3.TypedExtensionConfig{Name: "is", TypedConfig: wire.Any(&metadatav3.Metadata{Value: claimValue(c)})},
			},
		},
	}}
}

func claimPath(key string, c v1alpha1.RequiredClaim) []string {
	return append([]string{cmp.Or(key, noClaims)}, c.Path...)
}

func claimValue(c v1alpha1.RequiredClaim) *matcherv3.ValueMatcher {
	switch {
	case len(c.Values) > 0:
		return anyValue(c.Values)
	case len(c.Contains) > 0:
		return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_ListMatch{ListMatch: &matcherv3.ListMatcher{
			MatchPattern: &matcherv3.ListMatcher_OneOf{OneOf: anyValue(c.Contains)},
		}}}
	case c.Number != nil:
		return between(*c.Number)
	case c.Bool != nil:
		return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_BoolMatch{BoolMatch: *c.Bool}}
	}
	return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_PresentMatch{PresentMatch: true}}
}

// anyValue is one of some strings.
func anyValue(values []string) *matcherv3.ValueMatcher {
	var each []*matcherv3.ValueMatcher
	for _, v := range values {
		each = append(each, &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: wire.Exactly(v)}})
	}
	if len(each) == 1 {
		return each[0]
	}
	return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_OrMatch{OrMatch: &matcherv3.OrMatcher{ValueMatchers: each}}}
}

// between is a range, of which Envoy takes the end for outside.
func between(n v1alpha1.ClaimNumber) *matcherv3.ValueMatcher {
	least, most := -math.MaxFloat64, math.MaxFloat64
	if n.Min != nil {
		least = float64(*n.Min)
	}
	if n.Max != nil {
		most = math.Nextafter(float64(*n.Max), math.Inf(1))
	}
	return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_DoubleMatch{DoubleMatch: &matcherv3.DoubleMatcher{
		MatchPattern: &matcherv3.DoubleMatcher_Range{Range: &typev3.DoubleRange{Start: least, End: most}},
	}}}
}

// InnerClaims is the key of the payload that a level accepted within which the outermost is not.
func InnerClaims(l Level) string { return Claims + "/" + levelNames[l] }

// ShadowClaims is the key of the payload that a level accepted of which only policies in Shadow demand a token. What
// is enforced goes by no such claims: who tries a policy out opens nothing by it, and shuts nothing.
func ShadowClaims(l Level) string { return "shadow/" + levelNames[l] }

// ClaimsFor is the key of the claims that a policy of a level goes by, given the levels that demand a token, from the
// outer to the inner ones: those of the innermost that is not within its own. "": it has none to go by.
func ClaimsFor(own Level, demand []Level) (key string) {
	l, ok := ClaimsLevel(own, demand)
	switch {
	case !ok:
		return ""
	case l == demand[0]:
		return Claims
	}
	return InnerClaims(l)
}

// ClaimsLevel is the level of those claims; false: there is none.
func ClaimsLevel(own Level, demand []Level) (l Level, ok bool) {
	within := slices.IndexFunc(demand, func(l Level) bool { return l > own })
	if within < 0 {
		within = len(demand)
	}
	if within == 0 {
		return 0, false
	}
	return demand[within-1], true
}

// Name is what records call a Level. It does not change.
func (l Level) Name() string { return levelNames[l] }

var levelNames = map[Level]string{
	AtMesh: "mesh", AtNamespace: "namespace", AtServiceAccount: "serviceaccount", AtPods: "pods",
	AtService: "service", AtPort: "port", AtRoute: "route", AtRule: "rule",
}
