package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// The types of the Secrets that the section oidc reads. Others it does not see: who may write policies, and may not read
// Secrets, cannot have what is in them sent to a server of their own.
const (
	// SecretTypeOIDCClient is that of a Secret with a client's secret.
	SecretTypeOIDCClient corev1.SecretType = "mesh.weft.dev/oidc-client"
	// SecretTypeOIDCSession is that of those of weft-system that the operator makes, by which sessions are sealed.
	SecretTypeOIDCSession corev1.SecretType = "mesh.weft.dev/oidc-session"
)

// OIDC has people who come by a Gateway log in at an OpenID provider: by the code flow with PKCE. Who has done so has a
// session, in cookies that are encrypted, and that proxies need nothing else for. A browser that has none is
// redirected to the provider; what is no browser's request, having no text/html in its header Accept or coming from
// a script that says so by X-Requested-With, is answered 401.
//
// While something is missing that a login needs, all requests are answered 503.
//
// The demand only tightens: a login of each level that demands one is needed. Of one level the oldest policy holds.
//
// +kubebuilder:validation:XValidation:rule="self.redirectPath != self.logoutPath",message="redirectPath and logoutPath must differ"
type OIDC struct {
	// provider is who people log in at.
	//
	// +required
	Provider OIDCProvider `json:"provider"`

	// clientID is what the provider knows this client by.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[!-~]+$`
	ClientID string `json:"clientID"`

	// clientSecretRef names the Secret that has the client's secret. Proxies are given it apart from all else.
	//
	// +required
	ClientSecretRef OIDCClientSecretRef `json:"clientSecretRef"`

	// scopes are asked for beside openid. For refreshToken, most providers want offline_access to be one of them.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[!#-\[\]-~]+$`
	Scopes []string `json:"scopes,omitempty"`

	// redirectPath is where the provider sends people back to, on the host that they came to. The Gateway answers
	// there itself, whether or not a route takes that path. The provider must know the URL. /oauth2/callback when
	// unset.
	//
	// +optional
	// +kubebuilder:default=/oauth2/callback
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^(/[-._~A-Za-z0-9]*[-_~A-Za-z0-9][-._~A-Za-z0-9]*)+$`
	RedirectPath string `json:"redirectPath,omitempty"`

	// logoutPath is where a session ends: its cookies are deleted and, if the provider has an endpoint for that, it is
	// left there too. The Gateway answers there itself. /logout when unset.
	//
	// +optional
	// +kubebuilder:default=/logout
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^(/[-._~A-Za-z0-9]*[-_~A-Za-z0-9][-._~A-Za-z0-9]*)+$`
	LogoutPath string `json:"logoutPath,omitempty"`

	// cookie says what the cookies are like.
	//
	// +optional
	Cookie *OIDCCookie `json:"cookie,omitempty"`

	// forwardAccessToken says whether the app is given the access token, in the header Authorization after
	// "Bearer ". What a client itself writes there is removed, whether or not.
	//
	// +optional
	ForwardAccessToken bool `json:"forwardAccessToken,omitempty"`

	// refreshToken says whether a session goes on, without anybody noticing, when the access token has ended, by a
	// refresh token, if the provider gives one.
	//
	// +optional
	// +kubebuilder:default=true
	RefreshToken *bool `json:"refreshToken,omitempty"`

	// lifetime is how long a refresh token is kept by a browser, where it does not say itself when it ends: who
	// stays away for longer logs in again. Between 1m and 8760h; 168h when unset.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('8760h')",message="lifetime is between 1m and 8760h"
	Lifetime *gwv1.Duration `json:"lifetime,omitempty"`
}

// OIDCProvider is an OpenID provider.
//
// +kubebuilder:validation:XValidation:rule="has(self.issuer) ? !has(self.authorizationEndpoint) && !has(self.tokenEndpoint) && !has(self.endSessionEndpoint) : has(self.authorizationEndpoint) && has(self.tokenEndpoint)",message="set issuer, whose endpoints are then looked up, or both authorizationEndpoint and tokenEndpoint"
type OIDCProvider struct {
	// issuer is the provider's URL, without the slash at its end. The operator fetches its discovery document,
	// /.well-known/openid-configuration under it, every 5m: by https, from a host whose certificate is publicly
	// trusted, or by http from a Service of the cluster. What was fetched last stays in force while the provider is
	// away.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(https://[-.a-zA-Z0-9]+(:[0-9]{1,5})?|http://[-a-z0-9]+\.[-a-z0-9]+\.svc(\.[-.a-z0-9]+)?(:[0-9]{1,5})?)(/[-._~!$&'()*+,;=:@%a-zA-Z0-9]+)*$`
	Issuer string `json:"issuer,omitempty"`

	// authorizationEndpoint is where browsers are sent to log in.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(https://[-.a-zA-Z0-9]+(:[0-9]{1,5})?|http://[-a-z0-9]+\.[-a-z0-9]+\.svc(\.[-.a-z0-9]+)?(:[0-9]{1,5})?)(/[-._~!$&'()*+,;=:@/%a-zA-Z0-9]*)(\?[-._~!$&'()*+,;=:@/?%a-zA-Z0-9]*)?$`
	AuthorizationEndpoint string `json:"authorizationEndpoint,omitempty"`

	// tokenEndpoint is where proxies have tokens for a code: https or, of a Service of the cluster, http.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(https://[-.a-zA-Z0-9]+(:[0-9]{1,5})?|http://[-a-z0-9]+\.[-a-z0-9]+\.svc(\.[-.a-z0-9]+)?(:[0-9]{1,5})?)(/[-._~!$&'()*+,;=:@/%a-zA-Z0-9]*)$`
	TokenEndpoint string `json:"tokenEndpoint,omitempty"`

	// endSessionEndpoint is where browsers are sent at logoutPath, so that the provider's own session ends too.
	// Without one they are sent to / of the host that they are at.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(https://[-.a-zA-Z0-9]+(:[0-9]{1,5})?|http://[-a-z0-9]+\.[-a-z0-9]+\.svc(\.[-.a-z0-9]+)?(:[0-9]{1,5})?)(/[-._~!$&'()*+,;=:@/%a-zA-Z0-9]*)$`
	EndSessionEndpoint string `json:"endSessionEndpoint,omitempty"`

	// caCertificateRefs name ConfigMaps of the policy's namespace with the authorities, under ca.crt, that may
	// vouch for the host of the token endpoint. When unset, they are those that are publicly trusted (Mozilla's list).
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	CACertificateRefs []OIDCAuthorityRef `json:"caCertificateRefs,omitempty"`
}

// OIDCAuthorityRef names a ConfigMap with authorities.
type OIDCAuthorityRef struct {
	// name of the ConfigMap, in the policy's namespace.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// OIDCClientSecretRef names one key of a Secret of type mesh.weft.dev/oidc-client.
type OIDCClientSecretRef struct {
	// name of the Secret, in the policy's namespace.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key in its data. client-secret when unset.
	//
	// +optional
	// +kubebuilder:default=client-secret
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// OIDCCookie says what the cookies of a session are like. All are HttpOnly and Secure: browsers send them by HTTPS only.
//
// +kubebuilder:validation:XValidation:rule="!has(self.domain) || !has(self.prefix) || !self.prefix.startsWith('__Host-')",message="a cookie whose name begins with __Host- is for one host: leave out domain, or choose another prefix"
type OIDCCookie struct {
	// prefix begins the name of each: <prefix>IdToken, <prefix>BearerToken, <prefix>RefreshToken,
	// <prefix>OauthExpires, <prefix>OauthHMAC, <prefix>OauthNonce and <prefix>OauthCodeVerifier. Two logins at one host
	// need different ones. Without any by default.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[-_A-Za-z0-9]+$`
	Prefix string `json:"prefix,omitempty"`

	// domain is the one whose hosts share a session. When unset, a session is for the host that it was begun at.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$`
	Domain string `json:"domain,omitempty"`

	// sameSite says whether browsers send the cookies with what other sites have them ask for: Lax, only when that
	// is to go there; None, always. With Strict, which is not to be had, nobody who comes back from the provider
	// would be known.
	//
	// +optional
	// +kubebuilder:default=Lax
	SameSite OIDCSameSite `json:"sameSite,omitempty"`
}

// OIDCSameSite says with which requests browsers send a cookie.
//
// +kubebuilder:validation:Enum=Lax;None
type OIDCSameSite string

// The values of OIDCSameSite.
const (
	OIDCSameSiteLax  OIDCSameSite = "Lax"
	OIDCSameSiteNone OIDCSameSite = "None"
)
