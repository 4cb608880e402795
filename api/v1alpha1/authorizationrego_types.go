package v1alpha1

// AuthorizationRego is a module of Rego, which says by its rules allow and deny who may call what. It reads version 1
// of the input, and is of the package weft.v1. What Envoy can decide of it is compiled into Envoy; status.rules tells of
// which rule some way cannot be, and why: by such a way of allow nobody is let in, and such a way of deny keeps out all
// that the rest of it is about.
//
// Until the module is there for the first time, the policy denies everything that it is about. Later, one that is
// missing or cannot be compiled leaves in force what was there before.
type AuthorizationRego struct {
	// configMapRef names the module. A change of it is in force as that of a policy is.
	//
	// +required
	ConfigMapRef RegoRef `json:"configMapRef"`
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
