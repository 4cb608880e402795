package jwt

import (
	"fmt"
	"slices"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	mutationfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// What policies in Shadow demand is verified beside what is enforced, and nothing is refused for it:
//
//	remove claims' headers, theirs too → verify tokens → what would be refused → headers of claims that waited for that
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
			p := &l.of[i]
			p.strip, p.ClaimHeaders = false, headersBeside(p.JWTProvider, taken)
		}
		tried = append(tried, l)
	}
	return tried, append(headers, claimHeaders(tried)...)
}

// headersBeside are the headers of a provider that no other one fills, which is enforced.
func headersBeside(p v1alpha1.JWTProvider, taken []string) (out []v1alpha1.ClaimHeader) {
	for _, c := range p.ClaimHeaders {
		name := strings.ToLower(c.Header)
		if slices.Contains(taken, name) {
			continue
		}
		if c.Header = name; len(p.Claims) > 0 {
			c.Header = waiting + name
		}
		out = append(out, c)
	}
	return out
}

// try finds out of each level whether its demand is met.
func try(said []room.Written[v1alpha1.JWT], found [][]room.Referent, at room.Kind) (out []*corev3.TypedExtensionConfig, would []room.Refusal) {
	tried, _ := triedBeside(levelsOf(said, found, at, false), levelsOf(said, found, at, true))
	for _, l := range tried {
		name := room.TryingAt(section, l.Level)
		rules := l.refusals()
		out = append(append(out, room.Trying(name, rules)), l.filled()...)
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

// waiting is where a claim waits, of a token that may yet lack what is demanded, until it is known whether it does.
const waiting = "x-weft-claim-"

// filled has headers that waited filled where a level would refuse nothing.
func (l level) filled() []*corev3.TypedExtensionConfig {
	m := &mutationfilterv3.Mutations{}
	for _, p := range l.able() {
		for _, c := range p.ClaimHeaders {
			header, waits := strings.CutPrefix(c.Header, waiting)
			if !waits {
				continue
			}
			value := fmt.Sprintf("%%CEL(metadata.filter_metadata['%s']['%s_shadow_engine_result'] == 'allowed' && '%s' in request.headers ? request.headers['%s'] : '')%%",
				wire.RBAC, room.TryingAt(section, l.Level), c.Header, c.Header)
			m.RequestMutations = append(m.RequestMutations,
				&mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
					Header: &corev3.HeaderValue{Key: header, Value: value}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
				}}},
				&mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: c.Header}})
		}
	}
	if len(m.RequestMutations) == 0 {
		return nil
	}
	return []*corev3.TypedExtensionConfig{wire.Extension("envoy.filters.http.header_mutation", &mutationfilterv3.HeaderMutation{Mutations: m})}
}
