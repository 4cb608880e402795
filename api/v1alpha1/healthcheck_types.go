package v1alpha1

import gwv1 "sigs.k8s.io/gateway-api/apis/v1"

// HealthCheck has every proxy that sends to a Service ask its pods itself whether they are well, and send
// nothing to those that are not. While all are found unwell, or more than half, requests go to all of them as
// if nothing were known: a check that is wrong takes no Service away.
//
// Kubernetes asks by its readiness probes already, and Weft sends nothing to a pod that is not ready. This is
// for what a kubelet cannot see: whether a pod can be reached from where it is called.
//
// A check goes the way of requests: to the Service's port, by mTLS to pods in the mesh, under the identity of
// the proxy's pod. Where only some callers are let in, let them make the check too. Every proxy that knows the
// Service asks each pod once in an interval, whether it calls or not: all sidecars, and the Gateways whose
// routes lead there. In a large mesh make the interval long.
//
// +kubebuilder:validation:XValidation:rule="[has(self.http), has(self.tcp), has(self.grpc)].filter(x, x).size() == 1",message="say how to check: set one of http, tcp and grpc"
type HealthCheck struct {
	// http makes a request. It is for ports that speak HTTP.
	//
	// +optional
	HTTP *HTTPHealthCheck `json:"http,omitempty"`

	// tcp exchanges bytes. It is for ports that are not read as HTTP.
	//
	// +optional
	TCP *TCPHealthCheck `json:"tcp,omitempty"`

	// grpc calls grpc.health.v1.Health/Check, and takes SERVING for well. It is for ports that declare HTTP/2,
	// by the appProtocol kubernetes.io/h2c or by a name such as grpc.
	//
	// +optional
	GRPC *GRPCHealthCheck `json:"grpc,omitempty"`

	// interval is how often each pod is asked, give or take a tenth. 10s when unset.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms')",message="set at least 100ms"
	Interval *gwv1.Duration `json:"interval,omitempty"`

	// timeout is how long an answer may take. 1s when unset. A proxy that begins to check a Service waits for
	// the first answer of each pod, or for this long, before it does so.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10ms') && duration(self) <= duration('10s')",message="set 10ms to 10s"
	Timeout *gwv1.Duration `json:"timeout,omitempty"`

	// unhealthyThreshold is how many checks in a row a pod must fail for it to be left out. 3 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	UnhealthyThreshold *int32 `json:"unhealthyThreshold,omitempty"`

	// healthyThreshold is how many checks in a row a pod must pass to be sent to again. 2 when unset. Of a pod
	// that is new, the first one decides.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	HealthyThreshold *int32 `json:"healthyThreshold,omitempty"`
}

// HTTPHealthCheck is a GET.
type HTTPHealthCheck struct {
	// path of the request.
	//
	// +required
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^/[^\s#]*$`
	Path string `json:"path"`

	// host of the request. <service>.<namespace> when unset.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._:\[\]-]+$`
	Host string `json:"host,omitempty"`

	// expectedStatuses are those of a pod that is well. 200 when unset.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	ExpectedStatuses []StatusRange `json:"expectedStatuses,omitempty"`
}

// StatusRange is an HTTP status, or a range of them.
//
// +kubebuilder:validation:XValidation:rule="!has(self.end) || self.end >= self.start",message="end is less than start"
type StatusRange struct {
	// start is the first status.
	//
	// +required
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=599
	Start int32 `json:"start"`

	// end is the last status. start when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=599
	End *int32 `json:"end,omitempty"`
}

// TCPHealthCheck makes a connection, sends some text and looks for some in what comes back. That a connection is
// made proves nothing: a sidecar takes it before its app does.
type TCPHealthCheck struct {
	// send is what is sent. Nothing when unset: for apps that speak first.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Send string `json:"send,omitempty"`

	// receive is what the answer must contain.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Receive string `json:"receive"`
}

// GRPCHealthCheck is a call of grpc.health.v1.Health/Check.
type GRPCHealthCheck struct {
	// service is the one that is asked about. The server as a whole when unset.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Service string `json:"service,omitempty"`
}
