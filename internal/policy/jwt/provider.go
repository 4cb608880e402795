package jwt

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// tokensKept is how many verified tokens a proxy's thread keeps for each provider, so as not to verify them anew;
// one that is longer than maxKept bytes it verifies each time. They go with the keys that they were verified by.
const (
	tokensKept = 256
	maxKept    = 4096
)

// skew is by how many seconds clocks may differ.
const skew = 30

// scope is the claim that has its words apart.
const scope = "scope"

// places are where a provider's token may be.
func places(p v1alpha1.JWTProvider) []v1alpha1.TokenPlace {
	if len(p.From) > 0 {
		return p.From
	}
	return []v1alpha1.TokenPlace{{Header: &v1alpha1.TokenHeader{Name: "Authorization", Prefix: "Bearer "}}}
}

// verified is a provider as Envoy has it, whose claims are under a key. The token stays, for that of one place may
// be asked for by several levels: without removes it in the end.
func (p provider) verified(key string) *jwtv3.JwtProvider {
	out := &jwtv3.JwtProvider{
		Issuer:              p.Issuer,
		Audiences:           p.Audiences,
		Forward:             true,
		PayloadInMetadata:   key,
		ClockSkewSeconds:    skew,
		JwtCacheConfig:      &jwtv3.JwtCacheConfig{JwtCacheSize: tokensKept, JwtMaxTokenSize: maxKept},
		JwksSourceSpecifier: &jwtv3.JwtProvider_LocalJwks{LocalJwks: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: p.keys}}},
		NormalizePayloadInMetadata: &jwtv3.JwtProvider_NormalizePayload{
			SpaceDelimitedClaims: []string{scope},
		},
	}
	for _, place := range places(p.JWTProvider) {
		switch {
		case place.Header != nil:
			out.FromHeaders = append(out.FromHeaders, &jwtv3.JwtHeader{Name: place.Header.Name, ValuePrefix: place.Header.Prefix})
		case place.Cookie != "":
			out.FromCookies = append(out.FromCookies, place.Cookie)
		default:
			out.FromParams = append(out.FromParams, place.QueryParam)
		}
	}
	for _, c := range p.ClaimHeaders {
		out.ClaimToHeaders = append(out.ClaimToHeaders, &jwtv3.JwtClaimToHeader{HeaderName: strings.ToLower(c.Header), ClaimName: strings.Join(c.Path, ".")})
	}
	return out
}
