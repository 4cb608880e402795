package v1alpha1

// ServerTLS has the sidecars behind a port of a Service end the TLS of clients that are not in the
// mesh: browsers, partners. A Gateway passes their connections through (TLSRoute), so that nothing
// between the client and the pod sees what they say, nor holds the key.
//
// It is the one exception to mtls Strict: who connects to the port by TLS under one of the hostnames
// needs no certificate. Callers in the mesh go on to use mTLS.
//
// +kubebuilder:validation:XValidation:rule="self.hostnames.all(h, self.hostnames.exists_one(o, o == h))",message="each hostname once",fieldPath=".hostnames"
type ServerTLS struct {
	// hostnames that clients ask for by SNI: exact ones, or wildcards such as *.example.com, which
	// stand for one label or more. Connections under any other name are refused.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Hostnames []string `json:"hostnames"`

	// certificateRefs name Secrets of type kubernetes.io/tls in the policy's namespace. With several,
	// each client is shown the one that suits its hostname and its kind of key. While a Secret holds no
	// usable certificate any more, the last one that it held stays in force.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	CertificateRefs []SecretReference `json:"certificateRefs"`

	// unguarded says what becomes of a port that lets clients in without any policy that checks who they
	// are.
	//
	// Refuse: the policy does not hold, and the port stays closed to them.
	//
	// Accept: they are let in, and it is the app that checks them.
	//
	// +optional
	// +kubebuilder:default=Refuse
	Unguarded UnguardedMode `json:"unguarded,omitempty"`
}

// SecretReference names a Secret of the policy's own namespace.
type SecretReference struct {
	// name of the Secret.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// UnguardedMode says whether a port may let in clients that no policy checks.
//
// +kubebuilder:validation:Enum=Refuse;Accept
type UnguardedMode string

// The modes of serverTLS.unguarded.
const (
	UnguardedRefuse UnguardedMode = "Refuse"
	UnguardedAccept UnguardedMode = "Accept"
)
