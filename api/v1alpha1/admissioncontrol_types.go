package v1alpha1

import gwv1 "sigs.k8s.io/gateway-api/apis/v1"

// AdmissionControl has a proxy turn away a part of the requests to what has failed much of late: with 503, by
// gRPC UNAVAILABLE, at once, and what fails is sent less. The part grows as the share of those that succeed
// falls below successRateThreshold, and shrinks as they do again. Of the n requests of the samplingWindow, of
// which s succeeded, with the threshold t as a fraction, it is
//
//	((n - s/t) / (n + 1)) ^ (1 / aggression), from none to maxRejectionPercent
//
// Each rule of a route is counted by itself, at each port where its requests come in, and so is a Service's
// port that no route acts on: what fails has nothing else turned away. Each worker thread of each proxy counts
// for itself, what it has let through only.
//
// +kubebuilder:validation:XValidation:rule="!has(self.disabled) || !self.disabled || !has(self.samplingWindow) && !has(self.successRateThreshold) && !has(self.aggression) && !has(self.requestsPerSecondThreshold) && !has(self.maxRejectionPercent) && !has(self.successCriteria)",message="disabled has nothing turned away: leave the other fields out",fieldPath=".disabled"
type AdmissionControl struct {
	// disabled has nothing turned away: an outer policy's admission control is so switched off.
	//
	// +optional
	Disabled bool `json:"disabled,omitempty"`

	// samplingWindow is how far back is looked, from 1s to 10m, rounded to whole seconds. 30s when unset.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('10m')",message="the window is from 1s to 10m"
	SamplingWindow *gwv1.Duration `json:"samplingWindow,omitempty"`

	// successRateThreshold is the percentage of requests that succeed at which none is turned away. 95 when
	// unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	SuccessRateThreshold *int32 `json:"successRateThreshold,omitempty"`

	// aggression is how fast the part grows, a decimal number from 1.0: with 1.0 as steadily as the share of
	// successes falls, with more faster at first. Where half of what is needed succeeds, 1.0 turns half away,
	// 2.0 seven tenths. 1.0 when unset.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	// +kubebuilder:validation:XValidation:rule="double(self) >= 1.0 && double(self) <= 100.0",message="aggression is from 1.0 to 100.0"
	Aggression *string `json:"aggression,omitempty"`

	// requestsPerSecondThreshold is how many requests per second a worker thread has let through, on average
	// over the window, when it begins to turn any away: of a few requests a single one that fails says
	// little. 1 when unset; 0: one that fails is enough.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	RequestsPerSecondThreshold *int32 `json:"requestsPerSecondThreshold,omitempty"`

	// maxRejectionPercent is the part that is turned away at most, however much fails: the rest shows when
	// it fails no more. 80 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxRejectionPercent *int32 `json:"maxRejectionPercent,omitempty"`

	// successCriteria says which answers are successes. A request without any, as its client left before, is
	// not counted.
	//
	// +optional
	SuccessCriteria *SuccessCriteria `json:"successCriteria,omitempty"`
}

// SuccessCriteria says which answers are successes.
//
// +kubebuilder:validation:XValidation:rule="has(self.httpStatuses) || has(self.grpcStatuses)",message="criteria without a status say nothing: set httpStatuses or grpcStatuses"
type SuccessCriteria struct {
	// httpStatuses are those of successes. 100 to 499 when unset: what a client got wrong, fewer requests do
	// not put right.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	HTTPStatuses []StatusRange `json:"httpStatuses,omitempty"`

	// grpcStatuses are those of calls of gRPC that are successes, by number. When unset all but
	// DEADLINE_EXCEEDED (4), RESOURCE_EXHAUSTED (8), ABORTED (10), INTERNAL (13), UNAVAILABLE (14) and
	// DATA_LOSS (15).
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=17
	GRPCStatuses []GRPCStatus `json:"grpcStatuses,omitempty"`
}

// GRPCStatus is a status of gRPC by its number.
//
// +kubebuilder:validation:Minimum=0
// +kubebuilder:validation:Maximum=16
type GRPCStatus int32
