package v1alpha1

import corev1 "k8s.io/api/core/v1"

// SecretTypeCredentials is the type of Secrets that the sections apiKey and basicAuth read. Others they do not see:
// who may write policies, and may not read Secrets, cannot try out by a policy what is in them.
const SecretTypeCredentials corev1.SecretType = "mesh.weft.dev/credentials"

// APIKey demands of each request a key that is in one of its Secrets. A request without one is answered 401, and so
// is one with another key.
//
// The demand only tightens: policies of each level must be satisfied, and an inner one loosens nothing. The keys of
// all policies of one level count together.
//
// +kubebuilder:validation:XValidation:rule="!has(self.clientHeader) || !(has(self.from) && size(self.from) > 0 ? self.from.exists(p, has(p.header) && p.header.lowerAscii() == self.clientHeader.lowerAscii()) : self.clientHeader.lowerAscii() == 'x-api-key')",message="the key is in that header: choose another one for the client",fieldPath=".clientHeader"
type APIKey struct {
	// secretRefs name the Secrets that have the keys, of type mesh.weft.dev/credentials: each entry of their data is a
	// client's key under the client's name. A change of one is followed at once.
	//
	// A client may have a key in each of several Secrets. A key that two clients have lets nobody in.
	//
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	SecretRefs []CredentialsRef `json:"secretRefs"`

	// from are the places that a key may be at, in the order in which they are looked at: the first that has
	// anything decides. When unset, it is the header X-API-Key.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	From []KeyPlace `json:"from,omitempty"`

	// clientHeader is the header by which the app is told whose key it was. What a client itself writes there is
	// always replaced.
	//
	// +optional
	ClientHeader CallerHeader `json:"clientHeader,omitempty"`

	// forward says whether the app is given the key too. False: the headers, query parameters and cookies of from
	// are removed, whatever is in them. Of a policy for a namespace or the mesh that is done by the sidecar beside
	// the app and not by a Gateway, for the sidecar asks for the key again.
	//
	// +optional
	// +kubebuilder:default=false
	Forward *bool `json:"forward,omitempty"`
}

// CredentialsRef names a Secret of type mesh.weft.dev/credentials.
type CredentialsRef struct {
	// name of the Secret, in the policy's namespace.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// KeyPlace is where in a request a key may be.
//
// +kubebuilder:validation:XValidation:rule="[has(self.header), has(self.cookie), has(self.queryParam)].filter(x, x).size() == 1",message="a place is one thing: set header, cookie or queryParam"
type KeyPlace struct {
	// header is a header by its name. "Bearer " before the key is passed over.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['host', 'cookie', 'connection', 'content-length', 'content-type', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect']) && !self.lowerAscii().startsWith('x-envoy-') && !self.lowerAscii().startsWith('x-forwarded-')",message="that header means something else: choose another name"
	Header string `json:"header,omitempty"`

	// cookie is a cookie by its name.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern="^[-!#$%&'*+.^_`|~A-Za-z0-9]+$"
	Cookie string `json:"cookie,omitempty"`

	// queryParam is a parameter of the query, by its name. Whoever logs URLs logs the key.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[-._~A-Za-z0-9]+$`
	QueryParam string `json:"queryParam,omitempty"`
}

// CallerHeader is a header by which an app is told who calls.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$`
// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['host', 'authorization', 'cookie', 'connection', 'content-length', 'content-type', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect']) && !self.lowerAscii().startsWith('x-envoy-') && !self.lowerAscii().startsWith('x-forwarded-')",message="that header means something else: choose another name"
type CallerHeader string
