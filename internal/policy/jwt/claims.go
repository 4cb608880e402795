package jwt

import (
	"math"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// demands is a filter that looks for the claims that the providers demand; nil where none does.
func demands(levels []level) *httprbacv3.RBAC {
	any, asked := []*rbacv3.Permission{{Rule: &rbacv3.Permission_Any{Any: true}}}, false
	var all []*rbacv3.Principal
	for _, l := range levels {
		var ways []*rbacv3.Principal
		for _, p := range l.able() {
			asked = asked || len(p.Claims) > 0
			ways = append(ways, and(p.claims(l.key)))
		}
		all = append(all, &rbacv3.Principal{Identifier: &rbacv3.Principal_OrIds{OrIds: &rbacv3.Principal_Set{Ids: ways}}})
	}
	if !asked {
		return nil
	}
	return &httprbacv3.RBAC{RulesStatPrefix: "jwt_", Rules: &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW, Policies: map[string]*rbacv3.Policy{
		"claims": {Permissions: any, Principals: []*rbacv3.Principal{and(all)}},
	}}}
}

func and(all []*rbacv3.Principal) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_AndIds{AndIds: &rbacv3.Principal_Set{Ids: all}}}
}

// claims are what must hold of the verified claims under a key for them to be a provider's, as it demands them. Of
// a level an issuer has one provider, so that the claim iss tells which one it was.
func (p provider) claims(key string) []*rbacv3.Principal {
	out := []*rbacv3.Principal{claim([]string{key, "iss"}, text(p.Issuer))}
	for _, c := range p.Claims {
		path := append([]string{key}, c.Path...)
		switch {
		case len(c.Values) > 0:
			out = append(out, anyOf(path, c.Values, text))
		case len(c.Contains) > 0:
			out = append(out, anyOf(path, c.Contains, member))
		case c.Number != nil:
			out = append(out, claim(path, between(*c.Number)))
		case c.Bool != nil:
			out = append(out, claim(path, &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_BoolMatch{BoolMatch: *c.Bool}}))
		default:
			out = append(out, claim(path, &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_PresentMatch{PresentMatch: true}}))
		}
	}
	return out
}

func anyOf(path, values []string, matched func(string) *matcherv3.ValueMatcher) *rbacv3.Principal {
	var ids []*rbacv3.Principal
	for _, v := range values {
		ids = append(ids, claim(path, matched(v)))
	}
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_OrIds{OrIds: &rbacv3.Principal_Set{Ids: ids}}}
}

func claim(path []string, value *matcherv3.ValueMatcher) *rbacv3.Principal {
	m := &matcherv3.MetadataMatcher{Filter: room.ClaimsNamespace, Value: value}
	for _, name := range path {
		m.Path = append(m.Path, &matcherv3.MetadataMatcher_PathSegment{Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: name}})
	}
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_SourcedMetadata{SourcedMetadata: &rbacv3.SourcedMetadata{MetadataMatcher: m}}}
}

func text(s string) *matcherv3.ValueMatcher {
	return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: wire.Exactly(s)}}
}

func member(s string) *matcherv3.ValueMatcher {
	return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_ListMatch{ListMatch: &matcherv3.ListMatcher{
		MatchPattern: &matcherv3.ListMatcher_OneOf{OneOf: text(s)},
	}}}
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
