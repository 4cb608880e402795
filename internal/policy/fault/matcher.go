package fault

import (
	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/weft-mesh/weft/internal/wire"
)

// httpStatuses are those of HTTP that stand for the statuses of gRPC, by google.rpc.Code's own comments.
var httpStatuses = map[int32]uint32{
	1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401,
}

// byKind does one thing about calls of gRPC, and another about other requests.
func byKind(ofGRPC, others *xdsmatcherv3.Matcher_OnMatch) *xdsmatcherv3.Matcher {
	return either(isGRPC, ofGRPC, others)
}

// only does something about what a predicate is true of, and nothing about other requests.
func only(is *xdsmatcherv3.Matcher_MatcherList_Predicate, do *xdsmatcherv3.Matcher) *xdsmatcherv3.Matcher {
	return either(is, &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Matcher{Matcher: do}}, nil)
}

// either does the one thing if a predicate is true, and else the other.
func either(is *xdsmatcherv3.Matcher_MatcherList_Predicate, do, otherwise *xdsmatcherv3.Matcher_OnMatch) *xdsmatcherv3.Matcher {
	return &xdsmatcherv3.Matcher{
		OnNoMatch: otherwise,
		MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
			Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{OnMatch: do, Predicate: is}},
		}},
	}
}

var isGRPC = &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
	SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
		Input: &xdscorev3.TypedExtensionConfig{Name: "content-type", TypedConfig: wire.Any(&matcherv3.HttpRequestHeaderMatchInput{HeaderName: "content-type"})},
		Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{
			ValueMatch: &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Prefix{Prefix: "application/grpc"}},
		},
	},
}}
