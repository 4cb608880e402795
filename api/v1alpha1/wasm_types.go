package v1alpha1

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

// Wasm is a module of WebAssembly that each proxy runs, by the ABI of Proxy-Wasm, version 0.1.0, 0.2.0 or 0.2.1. It
// may look at and change the headers and bodies of requests and answers, answer itself, log, and keep data. It may
// not call others, use queues, keep metrics, see files or the environment, or have a request take another route.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMapRef) != has(self.remote)",message="a module is in one place: set configMapRef or remote"
type Wasm struct {
	// configMapRef names where the module is, if it is small: a ConfigMap holds up to 1 MiB.
	//
	// +optional
	ConfigMapRef *ModuleRef `json:"configMapRef,omitempty"`

	// remote says where the operator fetches the module, which proxies then get from the operator.
	//
	// +optional
	Remote *RemoteModule `json:"remote,omitempty"`

	// config is what the module is configured with: it gets this value as JSON in proxy_on_configure. At most 16,384
	// bytes.
	//
	// +optional
	// +kubebuilder:validation:XPreserveUnknownFields
	Config *apiextensionsv1.JSON `json:"config,omitempty"`
}

// ModuleRef names one key of a ConfigMap's binaryData.
type ModuleRef struct {
	// name of the ConfigMap, in the policy's namespace.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key in its binaryData. It ends in .wasm, for of ConfigMaps Weft reads nothing that is not meant for it.
	//
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+\.wasm$`
	Key string `json:"key"`
}

// RemoteModule is a module that is fetched by HTTP or HTTPS.
type RemoteModule struct {
	// url of the module: http:// or https://, without a user and a password. Of a server over HTTPS the operator
	// verifies the certificate by the authorities of its image.
	//
	// +required
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@\s]+(/[^#\s]*)?$`
	URL string `json:"url"`

	// sha256 of the module, in hexadecimal. What is fetched and has another one is not run.
	//
	// +required
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	SHA256 string `json:"sha256"`
}
