package v1alpha1

import gwv1 "sigs.k8s.io/gateway-api/apis/v1"

// Timeout bounds how long things take. What exceeds it is answered 504, or by gRPC DEADLINE_EXCEEDED; a
// connection that is not made in time is tried at another pod, and then answered 503.
//
// +kubebuilder:validation:XValidation:rule="has(self.request) || has(self.idle) || has(self.stream) || has(self.connect)",message="a timeout without a bound does nothing: set request, idle, stream or connect"
type Timeout struct {
	// request bounds a request, with its retries, from its last byte to the answer's last; 0s: unbounded.
	// Unbounded when unset. A route's own timeouts.request holds instead.
	//
	// +optional
	Request *gwv1.Duration `json:"request,omitempty"`

	// idle bounds how long nothing may be sent in either direction of a request; 0s: unbounded.
	// 5m when unset.
	//
	// +optional
	Idle *gwv1.Duration `json:"idle,omitempty"`

	// stream bounds a request from its first byte to the answer's last, however much is sent: also
	// streams of gRPC and WebSockets; 0s: unbounded. Unbounded when unset.
	//
	// +optional
	Stream *gwv1.Duration `json:"stream,omitempty"`

	// connect bounds how long a connection to a pod may take to be made. 5s when unset. Only for a
	// target that things are sent to: the mesh, a namespace, a Service or its port.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="no connection is made in no time: set at least 1ms"
	Connect *gwv1.Duration `json:"connect,omitempty"`
}
