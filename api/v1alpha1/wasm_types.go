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

// RemoteModule is a module that is fetched from a server, or from a registry of OCI artifacts.
type RemoteModule struct {
	// url of the module, without a user and a password: it must be there for everybody to read.
	//
	// http:// or https://: the module itself or, where the path ends in .tar, .tar.gz or .tgz, a file in that archive.
	//
	// oci://<registry>/<repository>:<tag>, or @sha256:<digest> in the place of the tag: a layer of that artifact, or a file
	// in a layer that is an archive. oci+http:// is the same for a registry that has no TLS.
	//
	// Of a server over TLS the operator verifies the certificate by the authorities of its image.
	//
	// +required
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^(https?|oci(\+http)?)://[^/?#@\s]+(/[^#\s]*)?$`
	URL string `json:"url"`

	// sha256 of the module itself, in hexadecimal, wherever it is found. What has another one is not taken.
	//
	// +required
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	SHA256 string `json:"sha256"`
}
