package v1alpha1

import gwv1 "sigs.k8s.io/gateway-api/apis/v1"

// Extension is a filter that Weft does not model: a script, a module, or a server that is asked. It acts on the
// requests after all else that policies and routes do to them, and on the answers before all that.
//
// +kubebuilder:validation:XValidation:rule="[has(self.lua), has(self.extProc), has(self.wasm)].exists_one(is, is)",message="an extension is one thing: set lua, extProc or wasm"
type Extension struct {
	// name tells it from the policy's other extensions, in logs and conditions.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`

	// failOpen says what becomes of a request whose extension fails: of which the script or the module cannot be
	// used or makes an error, or the server does not answer, is away or does not exist. False: the request is
	// answered with an error, 500, 503 if a module crashed, or 504 if the server is too slow. True: it goes on
	// without the extension, but for the one request by which a module crashes.
	//
	// +optional
	// +kubebuilder:default=false
	FailOpen bool `json:"failOpen,omitempty"`

	// lua is a script that each proxy runs.
	//
	// +optional
	Lua *Lua `json:"lua,omitempty"`

	// extProc is a server that each proxy asks, by Envoy's protocol ext_proc.
	//
	// +optional
	ExtProc *ExtProc `json:"extProc,omitempty"`

	// wasm is a module of WebAssembly that each proxy runs.
	//
	// +optional
	Wasm *Wasm `json:"wasm,omitempty"`
}

// Lua is a script of Lua 5.1 that defines the global function envoy_on_request(handle) or
// envoy_on_response(handle), or both. What a handle has, Envoy's documentation of its Lua filter says; it has
// no httpCall and no clearRouteCache. Of Lua's library there are string, table, math, bit, and what tells the
// time: neither files nor modules.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMapRef) != has(self.source)",message="a script is in one place: set configMapRef or source"
type Lua struct {
	// configMapRef names where the script is.
	//
	// +optional
	ConfigMapRef *ScriptRef `json:"configMapRef,omitempty"`

	// source is the script itself, of 16,384 bytes at most.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Source string `json:"source,omitempty"`
}

// ScriptRef names one key of a ConfigMap.
type ScriptRef struct {
	// name of the ConfigMap, in the policy's namespace.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key in its data. It ends in .lua, for of ConfigMaps Weft reads nothing that is not meant for it.
	//
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+\.lua$`
	Key string `json:"key"`
}

// ExtProc is a server of envoy.service.ext_proc.v3.ExternalProcessor, which is told of requests and answers
// while they are under way, and may change them, or answer itself.
type ExtProc struct {
	// backendRef names the Service, and the port, where the server is spoken to by gRPC. In another namespace
	// it needs a ReferenceGrant there, from kind MeshPolicy of group mesh.weft.dev.
	//
	// +required
	BackendRef gwv1.BackendObjectReference `json:"backendRef"`

	// processingMode says what the server is told of: unless it is set, of the headers of both, and of no body.
	//
	// +optional
	ProcessingMode ProcessingMode `json:"processingMode,omitzero"`

	// messageTimeout is how long the server may take for each message, up to 10s. 200ms when unset.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s') && duration(self) <= duration('10s')",message="messageTimeout is longer than 0s, and 10s at most"
	MessageTimeout *gwv1.Duration `json:"messageTimeout,omitempty"`
}

// ProcessingMode says which parts of a request and of its answer a server is told of, as Envoy's message of
// that name does.
//
// +kubebuilder:validation:XValidation:rule="!(self.requestHeaderMode == 'Skip' && self.responseHeaderMode == 'Skip' && self.requestBodyMode == 'None' && self.responseBodyMode == 'None')",message="a server that is told of nothing does nothing"
type ProcessingMode struct {
	// requestHeaderMode is Send or Skip.
	//
	// +optional
	// +kubebuilder:default=Send
	RequestHeaderMode HeaderSendMode `json:"requestHeaderMode,omitempty"`

	// responseHeaderMode is Send or Skip.
	//
	// +optional
	// +kubebuilder:default=Send
	ResponseHeaderMode HeaderSendMode `json:"responseHeaderMode,omitempty"`

	// requestBodyMode is None; Streamed, in pieces as they come; Buffered, the whole, and a larger one than
	// proxies keep is answered 413; or BufferedPartial, as much of its beginning as proxies keep.
	//
	// +optional
	// +kubebuilder:default=None
	RequestBodyMode BodySendMode `json:"requestBodyMode,omitempty"`

	// responseBodyMode is the same of the answer; too large a one becomes a 500.
	//
	// +optional
	// +kubebuilder:default=None
	ResponseBodyMode BodySendMode `json:"responseBodyMode,omitempty"`
}

// HeaderSendMode says whether a server is told of headers.
//
// +kubebuilder:validation:Enum=Send;Skip
type HeaderSendMode string

// BodySendMode says how a server is told of a body.
//
// +kubebuilder:validation:Enum=None;Streamed;Buffered;BufferedPartial
type BodySendMode string
