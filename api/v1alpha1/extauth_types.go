package v1alpha1

import (
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ExtAuth has a server asked about each request before anything is done with it: who is that, and may they? What it
// does not allow, and what it cannot be asked about, is refused. Its fields are those of the filter ExternalAuth of
// an HTTPRoute, and some more.
//
// As soon as a policy of a level (mesh, namespace, ServiceAccount, pods, Service or Gateway, port or listener, route,
// rule) has the section, its server must allow the requests that it is about. Those of all levels are asked, the
// outermost first, and of one level those of all policies, the oldest first. The server that an HTTPRoute's own
// filter names comes last. None is asked about what another one refused.
//
// +kubebuilder:validation:XValidation:rule="self.protocol == 'GRPC' || !has(self.grpc)",message="grpc is for a server that speaks GRPC: remove it, or set protocol to GRPC",fieldPath=".grpc"
// +kubebuilder:validation:XValidation:rule="self.protocol == 'HTTP' || !has(self.http)",message="http is for a server that speaks HTTP: remove it, or set protocol to HTTP",fieldPath=".http"
type ExtAuth struct {
	// protocol is HTTP or GRPC.
	//
	// HTTP: the server is asked with the request's method, path and Host. The status 200 allows; any other one is
	// what the client gets, with its headers and body.
	//
	// GRPC: the server is an envoy.service.auth.v3.Authorization, whatever its port declares.
	//
	// +required
	Protocol ExtAuthProtocol `json:"protocol"`

	// backendRef names the Service, and the port, where the server is. In another namespace it needs a
	// ReferenceGrant there, from kind MeshPolicy of group mesh.weft.dev.
	//
	// +required
	BackendRef gwv1.BackendObjectReference `json:"backendRef"`

	// http says what a server that speaks HTTP is told of, and what the app is told of its answer. When unset, the
	// server is told of the header Authorization alone, and the app of all headers of the answer.
	//
	// +optional
	HTTP *gwv1.HTTPAuthConfig `json:"http,omitempty"`

	// grpc says what a server that speaks GRPC is told of. When unset, of all headers.
	//
	// +optional
	GRPC *gwv1.GRPCAuthConfig `json:"grpc,omitempty"`

	// forwardBody has the server told of the request's body. A request with a longer one is answered 413. When
	// unset, the server is told of no body.
	//
	// +optional
	ForwardBody *ExtAuthBody `json:"forwardBody,omitempty"`

	// serverHeaders are headers that the app has from the server or not at all: what a client writes there is
	// removed before the server is asked, by either protocol. Those of http.allowedResponseHeaders of which the
	// server is not told are such without being named here.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	ServerHeaders []ServerHeader `json:"serverHeaders,omitempty"`

	// timeout is how long the server may take, up to 10s, which it is when unset. Then the request is refused.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s') && duration(self) <= duration('10s')",message="timeout is longer than 0s, and 10s at most"
	Timeout *gwv1.Duration `json:"timeout,omitempty"`

	// failOpen has requests go on about which the server cannot be asked, or does not answer in time, or by HTTP
	// answers 5xx: for servers that add to requests, not for those that protect something. Unset they are refused.
	//
	// +optional
	FailOpen bool `json:"failOpen,omitempty"`
}

// ExtAuthBody is how much of a request's body a server is told of.
type ExtAuthBody struct {
	// maxSize is how many bytes a body may have. 0 has the server told of none, and bodies of any size pass.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	MaxSize int32 `json:"maxSize,omitempty"`
}

// ExtAuthProtocol is how a server is asked.
//
// +kubebuilder:validation:Enum=HTTP;GRPC
type ExtAuthProtocol string

// ServerHeader is the name of a header that only a server fills.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$`
// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['host', 'authorization', 'cookie', 'connection', 'content-length', 'content-type', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect']) && !self.lowerAscii().startsWith('x-envoy-') && !self.lowerAscii().startsWith('x-forwarded-')",message="that header means something else: choose another name"
type ServerHeader string

// Filter is the section as an HTTPRoute's filter says it.
func (e *ExtAuth) Filter() *gwv1.HTTPExternalAuthFilter {
	out := &gwv1.HTTPExternalAuthFilter{
		ExternalAuthProtocol: gwv1.HTTPRouteExternalAuthProtocol(e.Protocol),
		BackendRef:           e.BackendRef,
		HTTPAuthConfig:       e.HTTP,
		GRPCAuthConfig:       e.GRPC,
	}
	if e.ForwardBody != nil {
		out.ForwardBody = &gwv1.ForwardBodyConfig{MaxSize: uint16(min(max(e.ForwardBody.MaxSize, 0), 65535))}
	}
	return out
}
