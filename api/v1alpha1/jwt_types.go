package v1alpha1

import gwv1 "sigs.k8s.io/gateway-api/apis/v1"

// JWT demands of each request a JSON Web Token (RFC 7519) that one of its providers made. A request without
// one is answered 401, and so is one whose token is forged, has ended, is not yet valid, or is for somebody
// else; one whose token lacks claims that are demanded, 403.
//
// The demand only tightens: policies of each level must be satisfied, and an inner one loosens nothing.
// Providers are alternatives, those of all policies of one level together.
type JWT struct {
	// providers are those by one of which a token must be made. An issuer has one provider: of two policies of
	// one level that name the same, the older's holds.
	//
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.all(p, self.exists_one(o, o.issuer == p.issuer))",message="an issuer has one provider: put its audiences and its claims together"
	Providers []JWTProvider `json:"providers"`
}

// JWTProvider makes tokens, and says how they are told from others.
type JWTProvider struct {
	// name tells it from the policy's other providers, in conditions.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`

	// issuer is what the claim iss of its tokens is, to the letter: usually a URL.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Issuer string `json:"issuer"`

	// audiences are those whom a token may be for: its claim aud must have one of them. When unset, a token for
	// anybody is taken, as one that was made for another app of the same provider.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Audiences []string `json:"audiences,omitempty"`

	// jwks is where the public keys are by which its tokens are verified: RSA of 2048 bits or more (RS256, RS384,
	// RS512, PS256, PS384, PS512), P-256, P-384 and P-521 (ES256, ES384, ES512), and Ed25519 (EdDSA). Other keys
	// of a set are passed over; symmetric ones are not taken. While no key can be had, tokens of the provider are
	// refused: 503, where there is no other provider.
	//
	// +required
	JWKS JWKS `json:"jwks"`

	// from are the places that a token may be at, in the order in which they are looked at. When unset, it is the
	// header Authorization, after "Bearer ".
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	From []TokenPlace `json:"from,omitempty"`

	// claims must all be in a token. A request whose token is valid otherwise is answered 403.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Claims []RequiredClaim `json:"claims,omitempty"`

	// claimHeaders are claims that the app is told of, in headers of the request. What a client itself writes
	// there is always removed.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	ClaimHeaders []ClaimHeader `json:"claimHeaders,omitempty"`

	// forward says whether the app is given the token too. False: headers and query parameters of from are
	// removed, whatever is in them; a cookie stays. Of a policy for a namespace or the mesh that is done by the
	// sidecar beside the app and not by a Gateway, for the sidecar asks for the token again.
	//
	// +optional
	// +kubebuilder:default=true
	Forward *bool `json:"forward,omitempty"`
}

// JWKS is where a JSON Web Key Set (RFC 7517) is.
//
// +kubebuilder:validation:XValidation:rule="[has(self.inline), has(self.configMapRef), has(self.secretRef), has(self.remote)].filter(x, x).size() == 1",message="keys are in one place: set inline, configMapRef, secretRef or remote"
type JWKS struct {
	// inline is the key set itself, of 32,768 bytes at most.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32768
	Inline string `json:"inline,omitempty"`

	// configMapRef names where the key set is. A change of it is followed at once.
	//
	// +optional
	ConfigMapRef *JWKSRef `json:"configMapRef,omitempty"`

	// secretRef names a Secret where the key set is. It is looked at every 10s. Proxies are given nothing but
	// public keys of it.
	//
	// +optional
	SecretRef *JWKSRef `json:"secretRef,omitempty"`

	// remote is where the operator fetches the key set.
	//
	// +optional
	Remote *RemoteJWKS `json:"remote,omitempty"`
}

// JWKSRef names one key of an object's data.
type JWKSRef struct {
	// name of the object, in the policy's namespace.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key in its data. It ends in jwks or jwks.json, for of ConfigMaps Weft reads nothing that is not meant for it.
	//
	// +optional
	// +kubebuilder:default=jwks.json
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]*jwks(\.json)?$`
	Key string `json:"key,omitempty"`
}

// RemoteJWKS is a key set that the operator fetches, for all proxies. The last one that was fetched stays in
// force while the provider is away, for proxies that start too.
type RemoteJWKS struct {
	// uri of the key set: https by a certificate that is publicly trusted or, of a Service of the cluster, http.
	// It is what the provider's discovery document names jwks_uri.
	//
	// +required
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(https://[-.a-zA-Z0-9]+(:[0-9]{1,5})?|http://[-a-z0-9]+\.[-a-z0-9]+\.svc(\.[-.a-z0-9]+)?(:[0-9]{1,5})?)/[-._~!$&'()*+,;=:@/?%a-zA-Z0-9]*$`
	URI string `json:"uri"`

	// refresh is how long a key set is good: then it is fetched again. A new key is known no later than that,
	// and a key that was withdrawn good for no longer. Between 10s and 24h; 5m when unset.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="refresh is between 10s and 24h"
	Refresh *gwv1.Duration `json:"refresh,omitempty"`
}

// TokenPlace is where in a request a token may be.
//
// +kubebuilder:validation:XValidation:rule="[has(self.header), has(self.cookie), has(self.queryParam)].filter(x, x).size() == 1",message="a place is one thing: set header, cookie or queryParam"
type TokenPlace struct {
	// header is a header by its name.
	//
	// +optional
	Header *TokenHeader `json:"header,omitempty"`

	// cookie is a cookie by its name.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern="^[-!#$%&'*+.^_`|~A-Za-z0-9]+$"
	Cookie string `json:"cookie,omitempty"`

	// queryParam is a parameter of the query, by its name. Whoever logs URLs logs the token.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[-._~A-Za-z0-9]+$`
	QueryParam string `json:"queryParam,omitempty"`
}

// TokenHeader is a header that has a token.
type TokenHeader struct {
	// name of the header.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$`
	Name string `json:"name"`

	// prefix is what precedes the token, such as "Bearer " with the space at its end.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[-_ =:A-Za-z0-9]*$`
	Prefix string `json:"prefix,omitempty"`
}

// RequiredClaim is one claim that a token must have and, if something is said of it, as it is said. A claim of
// another type than what is said has it not: a number is no string.
//
// +kubebuilder:validation:XValidation:rule="[has(self.values), has(self.contains), has(self.number), has(self.bool)].filter(x, x).size() <= 1",message="a claim is of one type: set values, contains, number or bool, or none if it only has to be there"
type RequiredClaim struct {
	// path is the claim's name or, of a claim within others, their names from outside in.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Path []string `json:"path"`

	// values are strings, of which the claim must be one.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=1024
	Values []string `json:"values,omitempty"`

	// contains are strings, one of which must be in the claim, which is a list. The claim scope counts as a list of
	// its words.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=1024
	Contains []string `json:"contains,omitempty"`

	// number is what the claim, a number, must be.
	//
	// +optional
	Number *ClaimNumber `json:"number,omitempty"`

	// bool is what the claim, true or false, must be.
	//
	// +optional
	Bool *bool `json:"bool,omitempty"`
}

// ClaimNumber bounds a number. Numbers are whole here; a claim may have fractions.
//
// +kubebuilder:validation:XValidation:rule="has(self.min) || has(self.max)",message="set min, max or both; the same for one number"
// +kubebuilder:validation:XValidation:rule="!has(self.min) || !has(self.max) || self.min <= self.max",message="min is not above max"
type ClaimNumber struct {
	// min is the least that it may be.
	//
	// +optional
	// +kubebuilder:validation:Minimum=-9007199254740991
	// +kubebuilder:validation:Maximum=9007199254740991
	Min *int64 `json:"min,omitempty"`

	// max is the most that it may be.
	//
	// +optional
	// +kubebuilder:validation:Minimum=-9007199254740991
	// +kubebuilder:validation:Maximum=9007199254740991
	Max *int64 `json:"max,omitempty"`
}

// ClaimHeader has a claim in a header. Strings, numbers and true or false are written as they are; lists and
// objects as JSON in Base64. A token without the claim makes no header.
type ClaimHeader struct {
	// path is the claim's name or, of a claim within others, their names from outside in. A name here has no dot.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[^.]+$`
	Path []string `json:"path"`

	// header is the header's name.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['host', 'authorization', 'cookie', 'connection', 'content-length', 'content-type', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect']) && !self.lowerAscii().startsWith('x-envoy-') && !self.lowerAscii().startsWith('x-forwarded-')",message="that header means something else: choose another name"
	Header string `json:"header"`
}
