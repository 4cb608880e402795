package v1alpha1

import gwv1 "sigs.k8s.io/gateway-api/apis/v1"

// OutlierDetection has a proxy send nothing, for a time, to a pod that failed what this proxy sent to it.
// The first time is baseEjectionTime; each further one is longer by as much, up to maxEjectionTime. Then the
// pod gets its share again, and the time grows no more unless it fails again: while it does not, each interval
// takes one baseEjectionTime off.
//
// Every proxy judges for itself, by its own requests. Never more than maxEjectionPercent of the pods are left
// out; those beyond are sent to however they fail.
//
// A pod that is only slow is found by its timeouts: an answer that is overdue by the section timeout, or by
// a route's timeouts, counts as a 504. Without a timeout nothing is overdue.
//
// Of connections that carry no HTTP, one that cannot be made counts as a 503, one that is made as a success.
// A sidecar makes every connection before its app does: what a pod in the mesh makes of them is not known.
//
// +kubebuilder:validation:XValidation:rule="!has(self.consecutive5xx) || self.consecutive5xx > 0 || has(self.consecutiveGatewayErrors) || has(self.consecutiveLocalErrors) || has(self.successRate) || has(self.failurePercentage)",message="consecutive5xx of 0 leaves nothing by which a pod is found to fail: set another"
// +kubebuilder:validation:XValidation:rule="!has(self.maxEjectionTime) || duration(self.maxEjectionTime) >= (has(self.baseEjectionTime) ? duration(self.baseEjectionTime) : duration('30s'))",message="maxEjectionTime is less than baseEjectionTime, which is 30s when unset",fieldPath=".maxEjectionTime"
type OutlierDetection struct {
	// consecutive5xx is how many requests in a row a pod must fail: by an answer of 500 or more, none within
	// the timeout, or no connection. Of gRPC the status counts as the HTTP status that it stands for
	// (UNAVAILABLE 503, INTERNAL and UNKNOWN 500), if it is all that the answer consists of.
	//
	// 5 when unset; 0: they are not counted.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Consecutive5xx *int32 `json:"consecutive5xx,omitempty"`

	// consecutiveGatewayErrors is the same of 502, 503 and 504, with timeouts and missing connections: a pod
	// whose app answers 500 is left alone by it. Not counted when unset. Together with consecutive5xx, which
	// counts these too, it has an effect only if it is less, or consecutive5xx is 0.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	ConsecutiveGatewayErrors *int32 `json:"consecutiveGatewayErrors,omitempty"`

	// consecutiveLocalErrors splits what a pod answered from what the proxy alone knows of: a connection that
	// cannot be made or breaks, and no answer within the timeout. Set, the others count answers only, and
	// this is how many of the latter in a row a pod may have.
	//
	// Each request that gets a connection ends a row: a pod that takes every request and answers none in time
	// is found by this only while several are under way at once. To find slow pods leave it unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	ConsecutiveLocalErrors *int32 `json:"consecutiveLocalErrors,omitempty"`

	// successRate compares pods with each other, at each interval. Not done when unset.
	//
	// +optional
	SuccessRate *SuccessRate `json:"successRate,omitempty"`

	// failurePercentage looks at the part of its requests that each pod failed, at each interval. Not done when
	// unset.
	//
	// +optional
	FailurePercentage *FailurePercentage `json:"failurePercentage,omitempty"`

	// interval is how often successRate and failurePercentage are looked at, and how often a pod whose time is
	// over is looked for: it may be out for up to this much longer. 10s when unset.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms')",message="set at least 100ms"
	Interval *gwv1.Duration `json:"interval,omitempty"`

	// baseEjectionTime is how long nothing is sent to a pod the first time. 30s when unset.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms')",message="set at least 100ms"
	BaseEjectionTime *gwv1.Duration `json:"baseEjectionTime,omitempty"`

	// maxEjectionTime bounds how long nothing is sent to a pod. 5m when unset, or baseEjectionTime if that is
	// more.
	//
	// +optional
	MaxEjectionTime *gwv1.Duration `json:"maxEjectionTime,omitempty"`

	// maxEjectionTimeJitter adds a random time of up to as much, so that not all proxies come back to a pod at
	// once. 0s when unset.
	//
	// +optional
	MaxEjectionTimeJitter *gwv1.Duration `json:"maxEjectionTimeJitter,omitempty"`

	// maxEjectionPercent bounds the part of a Service's pods that one proxy leaves out at a time; what makes
	// no whole pod is left off: with 50, the default, one of two pods, one of three, two of five, and never
	// the only one.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxEjectionPercent *int32 `json:"maxEjectionPercent,omitempty"`
}

// SuccessRate leaves pods out that succeed far less often than the pods of the Service do on average. It finds one
// bad pod among good ones; a part of them that is large makes the average bad, and is not found.
type SuccessRate struct {
	// deviations is by how many thousandths of a standard deviation a pod must be below the average. 1900 when
	// unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	Deviations *int32 `json:"deviations,omitempty"`

	// minimumPods is how many pods must have had minimumRequests for any to be left out. 5 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=2
	MinimumPods *int32 `json:"minimumPods,omitempty"`

	// minimumRequests is how many requests of this proxy a pod must have had in an interval. 100 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	MinimumRequests *int32 `json:"minimumRequests,omitempty"`
}

// FailurePercentage leaves pods out that fail too large a part of their requests.
type FailurePercentage struct {
	// threshold is the percentage from which on a pod is left out. 85 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Threshold *int32 `json:"threshold,omitempty"`

	// minimumPods is how many pods the Service must have. 5 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	MinimumPods *int32 `json:"minimumPods,omitempty"`

	// minimumRequests is how many requests of this proxy a pod must have had in an interval. 50 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	MinimumRequests *int32 `json:"minimumRequests,omitempty"`
}
