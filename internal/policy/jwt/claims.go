package jwt

import (
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
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
		all = append(all, or(ways))
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
	out := []*rbacv3.Principal{claim(key, v1alpha1.RequiredClaim{Path: []string{"iss"}, Values: []string{p.Issuer}})}
	for _, c := range p.Claims {
		out = append(out, claim(key, c))
	}
	return out
}

func claim(key string, c v1alpha1.RequiredClaim) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_SourcedMetadata{SourcedMetadata: &rbacv3.SourcedMetadata{MetadataMatcher: room.ClaimIs(key, c)}}}
}
