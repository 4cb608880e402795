package v1alpha1

import gwv1 "sigs.k8s.io/gateway-api/apis/v1"

// Retry has requests sent again that failed. Each attempt goes to another pod, after a pause that grows.
//
// Requests that no pod has seen are sent again in any case, without this section up to 5 times: no connection
// came about, HTTP/2 refused the stream, or the proxy beside the app says that it sent nothing. What this
// section adds may have reached an app before it failed, and so act twice, a POST too: where that is not
// borne, target the rules of which it is, by their names.
//
// A request of which more than 256 KiB were sent is not sent again, nor one whose answer has begun.
//
// A rule's own retry, in an HTTPRoute, holds in the place of the whole section, and its timeouts.backendRequest
// in that of perTryTimeout.
//
// +kubebuilder:validation:XValidation:rule="!has(self.attempts) || self.attempts > 0 || !(has(self.conditions) || has(self.codes) || has(self.headers) || has(self.grpcCodes) || has(self.perTryTimeout) || has(self.backoff) || has(self.pods))",message="attempts 0 has nothing sent again but what no pod has seen: leave the other fields out",fieldPath=".attempts"
type Retry struct {
	// attempts is how often a request is sent again at most, whatever for. 0: only what no pod has seen, as
	// without this section; an outer policy's retry is so switched off.
	//
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	Attempts *int32 `json:"attempts,omitempty"`

	// conditions are failures that are retried, beside those that codes, headers and grpcCodes name. When all four
	// are unset: gateway-error, which has reset in it, and of gRPC UNAVAILABLE.
	//
	// 5xx: any answer of 500 to 599, and reset.
	//
	// gateway-error: an answer of 502, 503 or 504, and reset.
	//
	// reset: no answer at all, as the connection or stream broke.
	//
	// connect-failure: no connection came about, which is retried in any case.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Conditions []RetryCondition `json:"conditions,omitempty"`

	// codes are statuses of answers that are retried.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Codes []gwv1.HTTPRouteRetryStatusCode `json:"codes,omitempty"`

	// headers are those by which an answer, whatever its status, asks that the request be retried. One of
	// them is enough.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Headers []RetryHeader `json:"headers,omitempty"`

	// grpcCodes are statuses of gRPC that are retried, if nothing but the status is answered, as failed calls
	// that are not streams mostly are.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	GRPCCodes []RetryGRPCCode `json:"grpcCodes,omitempty"`

	// perTryTimeout ends an attempt whose answer has not begun in that time, and has it retried, whatever else
	// is. If it was the last, 504 is answered. Unbounded when unset.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="no attempt is answered in no time: set at least 1ms"
	PerTryTimeout *gwv1.Duration `json:"perTryTimeout,omitempty"`

	// backoff is the pause before each attempt.
	//
	// +optional
	Backoff *RetryBackoff `json:"backoff,omitempty"`

	// pods says where attempts go.
	//
	// Others: to pods that were not tried yet, as far as a few random choices find one. This is the default.
	//
	// Any: to whichever load balancing finds.
	//
	// +optional
	Pods RetryPods `json:"pods,omitempty"`

	// budget bounds the retries that one proxy has under way at once to a port of a Service. It is about where
	// requests are sent, so that the policy's targets are Services, a namespace or the mesh. It holds in the
	// place of an XBackendTrafficPolicy's; circuitBreaker.maxRetries, if set too, holds in its place. When
	// unset: 20 % of the requests, and 10 at least, or as an XBackendTrafficPolicy says.
	//
	// +optional
	Budget *RetryBudget `json:"budget,omitempty"`
}

// RetryBudget is how many retries may be under way at once. What it has no room for is not sent again, and
// gets the answer that there is.
type RetryBudget struct {
	// percent of the requests that are under way.
	//
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent *int32 `json:"percent,omitempty"`

	// minRetries are possible however few requests are under way. Envoy has at least one.
	//
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	MinRetries *int32 `json:"minRetries,omitempty"`
}

// RetryCondition is a failure that may be retried, in Envoy's words.
//
// +kubebuilder:validation:Enum="5xx";gateway-error;reset;connect-failure
type RetryCondition string

// The values of retry.conditions.
const (
	RetryServerError    RetryCondition = "5xx"
	RetryGatewayError   RetryCondition = "gateway-error"
	RetryReset          RetryCondition = "reset"
	RetryConnectFailure RetryCondition = "connect-failure"
)

// RetryGRPCCode is a status of gRPC that may be retried, in gRPC's words.
//
// +kubebuilder:validation:Enum=CANCELLED;DEADLINE_EXCEEDED;INTERNAL;RESOURCE_EXHAUSTED;UNAVAILABLE
type RetryGRPCCode string

// RetryHeader is a header by which an answer asks for a retry.
type RetryHeader struct {
	// name of the header.
	//
	// +required
	Name gwv1.HeaderName `json:"name"`

	// value that it has, exactly. Any when unset.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Value *string `json:"value,omitempty"`
}

// RetryBackoff is the pause before attempts: a random part of base before the first, and of twice as much
// before each that follows, until that is max.
//
// +kubebuilder:validation:XValidation:rule="has(self.base) || has(self.max)",message="set base or max"
// +kubebuilder:validation:XValidation:rule="!has(self.max) || (has(self.base) ? duration(self.max) >= duration(self.base) : duration(self.max) >= duration('10ms'))",message="max must not be less than base, which is 10ms when unset",fieldPath=".max"
type RetryBackoff struct {
	// base is 10ms when unset.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1ms')",message="set at least 1ms"
	Base *gwv1.Duration `json:"base,omitempty"`

	// max is ten times base when unset.
	//
	// +optional
	Max *gwv1.Duration `json:"max,omitempty"`
}

// RetryPods says where attempts go.
//
// +kubebuilder:validation:Enum=Others;Any
type RetryPods string

// The ways of retry.pods.
const (
	RetryOthers RetryPods = "Others"
	RetryAny    RetryPods = "Any"
)
