package jwt

import (
	"slices"
	"strings"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// What policies in Shadow demand is verified beside what is enforced, and nothing is refused for it:
//
//	remove claims' headers, theirs too → verify tokens → headers of theirs that lack a claim go → what would be refused
//
// Tokens go on as they came. Claims are under keys by which nothing goes that is enforced.

// Why a token is not taken.
const (
	noKeys   = "keys"   // no provider has any
	noToken  = "token"  // there is none that is valid
	noClaims = "claims" // it lacks what is demanded
)

// triedBeside are those levels of which policies in Shadow alone demand a token: where something is enforced, they would
// only add to what is accepted there. headers are those that nobody but a provider may fill, at whichever level.
func triedBeside(enforced, shadow []level) (tried []level, headers []string) {
	headers, taken := claimHeaders(shadow), claimHeaders(enforced)
	for _, l := range shadow {
		if slices.ContainsFunc(enforced, func(e level) bool { return e.Level == l.Level }) {
			continue
		}
		l.key = room.ShadowClaims(l.Level)
		for i := range l.of {
			l.of[i].strip = false
			l.of[i].ClaimHeaders = slices.DeleteFunc(slices.Clone(l.of[i].ClaimHeaders), func(c v1alpha1.ClaimHeader) bool {
				return slices.Contains(taken, strings.ToLower(c.Header))
			})
		}
		tried = append(tried, l)
	}
	return tried, headers
}

// try finds out of each level whether its demand is met.
func try(said []room.Written[v1alpha1.JWT], found [][]room.Referent, at room.Kind) (out []*corev3.TypedExtensionConfig, would []room.Refusal) {
	tried, _ := triedBeside(levelsOf(said, found, at, false), levelsOf(said, found, at, true))
	for _, l := range tried {
		name := room.TryingAt(section, l.Level)
		rules := l.refusals()
		out = append(out, room.Trying(name, rules))
		for _, by := range []string{noKeys, noToken, noClaims} {
			if rules.Policies[by] != nil {
				would = append(would, room.Refusal{Section: section, Policy: l.policy, Rule: by, Filter: name, By: by})
			}
		}
	}
	return out, would
}

// refusals deny what a level would, each for one reason.
func (l level) refusals() *rbacv3.RBAC {
	out := &rbacv3.RBAC{Action: rbacv3.RBAC_DENY, Policies: map[string]*rbacv3.Policy{}}
	deny := func(name string, who *rbacv3.Principal) {
		any := []*rbacv3.Permission{{Rule: &rbacv3.Permission_Any{Any: true}}}
		out.Policies[name] = &rbacv3.Policy{Permissions: any, Principals: []*rbacv3.Principal{who}}
	}
	var made, fit []*rbacv3.Principal
	asks := false
	for _, p := range l.able() {
		all := p.claims(l.key)
		made, fit, asks = append(made, all[0]), append(fit, and(all)), asks || len(p.Claims) > 0
	}
	if len(made) == 0 {
		deny(noKeys, &rbacv3.Principal{Identifier: &rbacv3.Principal_Any{Any: true}})
		return out
	}
	deny(noToken, not(or(made)))
	if asks {
		deny(noClaims, and([]*rbacv3.Principal{or(made), not(or(fit))}))
	}
	return out
}

func or(any []*rbacv3.Principal) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_OrIds{OrIds: &rbacv3.Principal_Set{Ids: any}}}
}

func not(p *rbacv3.Principal) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_NotId{NotId: p}}
}

// unfit takes away what was filled by tokens that lack a claim: they would get no request to the app.
func unfit(tried []level) (out []*corev3.TypedExtensionConfig) {
	for _, l := range tried {
		list := &xdsmatcherv3.Matcher_MatcherList{}
		for _, p := range l.able() {
			headers := claimHeaders([]level{{of: []provider{p}}})
			if len(headers) == 0 || len(p.Claims) == 0 {
				continue
			}
			made := room.HasClaims(l.key, []v1alpha1.RequiredClaim{{Path: []string{"iss"}, Values: []string{p.Issuer}}})
			list.Matchers = append(list.Matchers, &xdsmatcherv3.Matcher_MatcherList_FieldMatcher{
				Predicate: bothOf(made, noneOf(room.HasClaims(l.key, p.Claims))), OnMatch: room.Chain(without(headers, nil)),
			})
		}
		if len(list.Matchers) > 0 {
			m := &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: list}}
			out = append(out, wire.Extension("envoy.filters.http.composite", &compositev3.Composite{Matcher: m}))
		}
	}
	return out
}

func bothOf(a, b *xdsmatcherv3.Matcher_MatcherList_Predicate) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_AndMatcher{
		AndMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: []*xdsmatcherv3.Matcher_MatcherList_Predicate{a, b}},
	}}
}

func noneOf(p *xdsmatcherv3.Matcher_MatcherList_Predicate) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_NotMatcher{NotMatcher: p}}
}
