package v1alpha1

// BasicAuth demands of each request a user and a password (RFC 7617). A request without them, or with others, is
// answered 401, and asked for them by WWW-Authenticate.
//
// The demand only tightens: policies of each level must be satisfied, and an inner one loosens nothing. The users of
// all policies of one level count together.
type BasicAuth struct {
	// secretRef names the Secret that has the users.
	//
	// +required
	SecretRef UsersRef `json:"secretRef"`

	// realm is what browsers call that which the password is for.
	//
	// +optional
	// +kubebuilder:default=Restricted
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[ !#-\[\]-~]*$`
	Realm string `json:"realm,omitempty"`

	// userHeader is the header by which the app is told of the user's name. What a client itself writes there is
	// always replaced.
	//
	// +optional
	UserHeader CallerHeader `json:"userHeader,omitempty"`

	// forward says whether the app is given the password too. False: the header Authorization is removed. Of a
	// policy for a namespace or the mesh that is done by the sidecar beside the app and not by a Gateway, for the
	// sidecar asks for the password again.
	//
	// +optional
	// +kubebuilder:default=false
	Forward *bool `json:"forward,omitempty"`
}

// UsersRef names one key of a Secret of type mesh.weft.dev/credentials.
type UsersRef struct {
	// name of the Secret, in the policy's namespace. A change of it is followed at once.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key in its data: lines of "user:{SHA}hash", as `htpasswd -s` writes them. Lines with other hashes let nobody
	// in; empty ones, and those that begin with #, are passed over.
	//
	// +optional
	// +kubebuilder:default=.htpasswd
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}
