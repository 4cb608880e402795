package authorization

import (
	"maps"
	"slices"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	sslv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/ssl/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// passed are the filters by which a request passes one, the indexes before the rest.
func passed(f opa.Filter) (out []*corev3.TypedExtensionConfig) {
	for _, i := range f.Indexes {
		out = append(out, found(i, f.Action))
	}
	if f.Action == rbacv3.RBAC_DENY && len(f.Policies) == 0 {
		return out
	}
	rules := &httprbacv3.RBAC{Rules: f.RBAC}
	if f.Sure != nil {
		rules.ShadowRules, rules.ShadowRulesStatPrefix = f.Sure, f.Says+"_"
	}
	return append(out, wire.Extension(wire.RBAC, rules))
}

// found has a request meet the rules that it may be about.
func found(i opa.Index, action rbacv3.RBAC_Action) *corev3.TypedExtensionConfig {
	leaves := map[string]*xdsmatcherv3.Matcher_OnMatch{}
	for _, key := range slices.Sorted(maps.Keys(i.Rules)) {
		leaf := room.Trying(i.Says, i.Rules[key])
		if action == rbacv3.RBAC_DENY {
			leaf = wire.Extension(wire.RBAC, &httprbacv3.RBAC{Rules: i.Rules[key]})
		}
		leaves[key] = room.Run(i.By, &compositev3.ExecuteFilterAction{TypedConfig: leaf})
	}
	tree := &xdsmatcherv3.Matcher_MatcherTree{Input: input(i)}
	if all := (&xdsmatcherv3.Matcher_MatcherTree_MatchMap{Map: leaves}); i.By == opa.ByPath {
		tree.TreeType = &xdsmatcherv3.Matcher_MatcherTree_PrefixMatchMap{PrefixMatchMap: all}
	} else {
		tree.TreeType = &xdsmatcherv3.Matcher_MatcherTree_ExactMatchMap{ExactMatchMap: all}
	}
	return wire.Extension("envoy.filters.http.composite", &compositev3.Composite{Matcher: &xdsmatcherv3.Matcher{
		MatcherType: &xdsmatcherv3.Matcher_MatcherTree_{MatcherTree: tree},
	}})
}

// input is what an index goes by. A caller has one name: who has more was turned away before. The path is with the
// query, which comes after all that is a key.
func input(i opa.Index) *xdscorev3.TypedExtensionConfig {
	var by proto.Message
	switch i.By {
	case opa.ByPrincipal:
		by = &sslv3.UriSanInput{}
	case opa.ByPath:
		by = &matcherv3.HttpRequestHeaderMatchInput{HeaderName: ":path"}
	default:
		by = &matcherv3.HttpRequestHeaderMatchInput{HeaderName: i.Header}
	}
	return &xdscorev3.TypedExtensionConfig{Name: i.By, TypedConfig: wire.Any(by)}
}
