package oidc

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	oauth2v3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/oauth2/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

const (
	openID = "openid"
	// tokenTimeout is how long a provider has to answer a proxy.
	tokenTimeout = 5 * time.Second
	// accessLifetime is that of an access token of which the provider does not say how long it is good.
	accessLifetime = time.Hour
	lifetimeUnset  = 7 * 24 * time.Hour
)

// filter is Envoy's for a login. PKCE and the sealing of tokens it has of itself.
func (l login) filter() *corev3.TypedExtensionConfig {
	lifetime := room.Length(l.Lifetime)
	if lifetime <= 0 {
		lifetime = lifetimeUnset
	}
	by := oauth2v3.OAuth2Config_BASIC_AUTH
	if l.endpoints.post() {
		by = oauth2v3.OAuth2Config_URL_ENCODED_BODY
	}
	return wire.Extension("envoy.filters.http.oauth2", &oauth2v3.OAuth2{Config: &oauth2v3.OAuth2Config{
		TokenEndpoint: &corev3.HttpUri{
			Uri:              l.endpoints.Token,
			HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: Cluster(l.policy)},
			Timeout:          durationpb.New(tokenTimeout),
		},
		AuthorizationEndpoint:        l.endpoints.Authorization,
		EndSessionEndpoint:           l.endpoints.EndSession,
		Credentials:                  l.credentials(),
		RedirectUri:                  "%REQ(X-FORWARDED-PROTO)%://%REQ(:AUTHORITY)%" + l.RedirectPath,
		RedirectPathMatcher:          exactly(l.RedirectPath),
		SignoutPath:                  exactly(l.LogoutPath),
		ForwardBearerToken:           l.ForwardAccessToken,
		AuthScopes:                   l.scopes(),
		AuthType:                     by,
		UseRefreshToken:              wrapperspb.Bool(l.alone && (l.RefreshToken == nil || *l.RefreshToken)),
		DefaultExpiresIn:             durationpb.New(accessLifetime),
		DefaultRefreshTokenExpiresIn: durationpb.New(lifetime),
		DenyRedirectMatcher:          noBrowser(),
		CookieConfigs:                l.cookies(),
		TokenCookieChunking:          &oauth2v3.TokenCookieChunking{},
		StatPrefix:                   "login",
	}})
}

func (l login) credentials() *oauth2v3.OAuth2Credentials {
	p := prefix(l.OIDC)
	out := &oauth2v3.OAuth2Credentials{
		ClientId:       l.ClientID,
		TokenSecret:    sealed(clientSecret(l.policy)),
		TokenFormation: &oauth2v3.OAuth2Credentials_HmacSecret{HmacSecret: sealed(sessionSecret(l.policy))},
		CookieNames: &oauth2v3.OAuth2Credentials_CookieNames{
			BearerToken: p + "BearerToken", OauthHmac: p + "OauthHMAC", OauthExpires: p + "OauthExpires", IdToken: p + "IdToken",
			RefreshToken: p + "RefreshToken", OauthNonce: p + "OauthNonce", CodeVerifier: p + "OauthCodeVerifier",
		},
	}
	if l.Cookie != nil {
		out.CookieDomain = l.Cookie.Domain
	}
	return out
}

// sealed is a secret that proxies have from the operator, apart from what names it.
func sealed(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}}
}

func (l login) scopes() []string {
	out := []string{openID}
	for _, s := range l.Scopes {
		if s != openID {
			out = append(out, s)
		}
	}
	return out
}

func (l login) cookies() *oauth2v3.CookieConfigs {
	like := &oauth2v3.CookieConfig{SameSite: oauth2v3.CookieConfig_LAX}
	if l.Cookie != nil && l.Cookie.SameSite == v1alpha1.OIDCSameSiteNone {
		like.SameSite = oauth2v3.CookieConfig_NONE
	}
	return &oauth2v3.CookieConfigs{
		BearerTokenCookieConfig: like, OauthHmacCookieConfig: like, OauthExpiresCookieConfig: like, IdTokenCookieConfig: like,
		RefreshTokenCookieConfig: like, OauthNonceCookieConfig: like, CodeVerifierCookieConfig: like,
	}
}

func exactly(path string) *matcherv3.PathMatcher {
	return &matcherv3.PathMatcher{Rule: &matcherv3.PathMatcher_Path{Path: wire.Exactly(path)}}
}

// noBrowser takes requests that could do nothing with a page to log in at.
func noBrowser() []*routev3.HeaderMatcher {
	return []*routev3.HeaderMatcher{
		{
			Name: "accept", InvertMatch: true, TreatMissingHeaderAsEmpty: true,
			HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_Contains{Contains: "text/html"}, IgnoreCase: true,
			}},
		},
		{Name: "x-requested-with", HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "XMLHttpRequest"}, IgnoreCase: true,
		}}},
	}
}

// eatCookies leaves of a session's cookies, which are not sealed any more behind the filter, the ID token's only: no
// app is to have the refresh token.
func (l login) eatCookies() []*corev3.TypedExtensionConfig {
	n := l.credentials().CookieNames
	return room.WithoutCookies([]string{n.BearerToken, n.RefreshToken, n.OauthHmac, n.OauthExpires, n.OauthNonce, n.CodeVerifier}, true)
}
