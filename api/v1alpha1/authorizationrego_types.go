package v1alpha1

// AuthorizationRego is a module of Rego, which says by its rules allow and deny who may call what. It reads version 1
// of the input, and is of the package weft.v1. What Envoy can decide of it is compiled into Envoy; what it cannot, weft
// authz is asked: status.rules tells of which rule some way is such, and why.
//
// Until the module is there for the first time, the policy denies everything that it is about. Later, one that is
// missing or cannot be compiled leaves in force what was there before.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMapRef) != has(self.remote)",message="a module is in one place: set configMapRef or remote"
type AuthorizationRego struct {
	// configMapRef names the module. A change of it is in force as that of a policy is.
	//
	// +optional
	ConfigMapRef *RegoRef `json:"configMapRef,omitempty"`

	// remote says where the operator fetches the module, of up to 65,536 bytes. While that of a new digest is being
	// fetched the one of before stays in force.
	//
	// +optional
	Remote *RemoteModule `json:"remote,omitempty"`
}

// RegoRef names one key of a ConfigMap's data.
type RegoRef struct {
	// name of the ConfigMap, in the policy's namespace.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key in its data, of up to 65,536 bytes. It ends in .rego, for of ConfigMaps Weft reads nothing that is not meant
	// for it.
	//
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+\.rego$`
	Key string `json:"key"`
}
