package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Fault makes requests late, or has them fail, on purpose: to see what callers do then. The proxy by which a
// request leaves its caller does it, a sidecar or a Gateway, before it sends anything: what it aborts reaches
// no pod. Both may be set; what is to be aborted is then delayed first, if it falls under both percentages.
//
// It never touches probes, nor requests that reach a pod without a sidecar of their caller: from outside the
// mesh past a Gateway, or to a pod's own IP.
//
// +kubebuilder:validation:XValidation:rule="has(self.delay) || has(self.abort)",message="a fault without delay and abort does nothing: set at least one"
type Fault struct {
	// until is when the fault ends by itself, in RFC 3339, such as 2030-01-31T18:00:00Z. From then on the
	// policy's fault is as if it were not written, and its condition Ready has the reason Expired. A later
	// time has it begin again.
	//
	// +required
	Until metav1.Time `json:"until"`

	// delay makes requests late.
	//
	// +optional
	Delay *FaultDelay `json:"delay,omitempty"`

	// abort has requests answered with an error.
	//
	// +optional
	Abort *FaultAbort `json:"abort,omitempty"`

	// headers are what requests must have, all of them, to be touched. Any when empty.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Headers []gwv1.HTTPHeaderMatch `json:"headers,omitempty"`

	// from are the callers whose requests are touched, by what their sidecars prove to be. Any when empty.
	// It is possible where callers are known: in a policy about the mesh, a namespace, a Service or its
	// port. Nothing that comes by a Gateway is touched then.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	From []Caller `json:"from,omitempty"`

	// claims must all be in a verified token of a request for it to be touched. Any when empty. Whose tokens these are
	// say the policies with jwt that are about the requests too, at the level of this one or an outer one; of the levels
	// at which there are such policies the innermost. Where there are none, nothing is touched.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Claims []RequiredClaim `json:"claims,omitempty"`

	// maxActive bounds the faults that one proxy has under way at once, those of all policies together.
	// Requests beyond it go untouched. 1000 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxActive *int32 `json:"maxActive,omitempty"`
}

// FaultShare is which part of the requests a fault touches: all, unless one of its fields is set.
//
// +kubebuilder:validation:XValidation:rule="!has(self.percent) || !has(self.fraction)",message="percent and fraction say the same: set one"
// +kubebuilder:validation:XValidation:rule="!has(self.fraction) || self.fraction.numerator > 0 && self.fraction.numerator <= (has(self.fraction.denominator) ? self.fraction.denominator : 100)",message="a fraction is more than nothing, and 1 at most: set numerator to 1 or more, and to denominator or less",fieldPath=".fraction"
type FaultShare struct {
	// percent of the requests.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Percent *int32 `json:"percent,omitempty"`

	// fraction of the requests, where a percent is too coarse. It is heeded in millionths.
	//
	// +optional
	Fraction *FaultFraction `json:"fraction,omitempty"`
}

// FaultFraction is numerator/denominator of the requests, as Gateway API's Fraction of what is mirrored.
type FaultFraction struct {
	// numerator is so many of denominator requests.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Numerator int32 `json:"numerator"`

	// denominator is of how many requests; 100 unless set.
	//
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	Denominator *int32 `json:"denominator,omitempty"`
}

// FaultDelay makes requests late. The delay is before the proxy's own timeouts and retries begin.
type FaultDelay struct {
	FaultShare `json:",inline"`

	// duration is by how much, in the form of Gateway API, such as 2s; up to 1h.
	//
	// +required
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s') && duration(self) <= duration('1h')",message="a delay is longer than 0s, and 1h at most"
	Duration gwv1.Duration `json:"duration"`
}

// FaultAbort answers requests with an error. Callers by gRPC get httpStatus as the status of gRPC that it
// stands for, and others get grpcStatus as that of HTTP. The proxy does not retry them.
//
// +kubebuilder:validation:XValidation:rule="has(self.httpStatus) != has(self.grpcStatus)",message="set httpStatus or grpcStatus, one of them"
type FaultAbort struct {
	FaultShare `json:",inline"`

	// httpStatus is the status of the answer, such as 503.
	//
	// +optional
	// +kubebuilder:validation:Minimum=400
	// +kubebuilder:validation:Maximum=599
	HTTPStatus *int32 `json:"httpStatus,omitempty"`

	// grpcStatus is the status of the answer by its number, such as 14 for UNAVAILABLE.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	GRPCStatus *int32 `json:"grpcStatus,omitempty"`
}
