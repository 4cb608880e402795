package v1alpha1

// AccessLogMode says which requests and connections a proxy writes to its log.
//
// +kubebuilder:validation:Enum=Off;Errors;Sampled
type AccessLogMode string

const (
	AccessLogOff     AccessLogMode = "Off"
	AccessLogErrors  AccessLogMode = "Errors"
	AccessLogSampled AccessLogMode = "Sampled"
)

// Telemetry says what proxies write about the traffic that they see. Metrics need no setting: they are
// always there.
//
// +kubebuilder:validation:XValidation:rule="!has(self.samplePercent) || (has(self.accessLogs) && self.accessLogs == 'Sampled')",message="only accessLogs: Sampled has a samplePercent",fieldPath=".samplePercent"
type Telemetry struct {
	// accessLogs is one line of JSON on the proxy's standard output for each:
	// Off: nothing.
	// Errors: request that was answered 500 or more, that a proxy failed or that a policy denied,
	// and connection of which the same is true. The default.
	// Sampled: of these, and besides of samplePercent of all others.
	//
	// +optional
	AccessLogs AccessLogMode `json:"accessLogs,omitempty"`

	// samplePercent of all requests and connections are logged. 1 when unset. All proxies on a
	// request's way choose the same requests, by their x-request-id.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	SamplePercent *int32 `json:"samplePercent,omitempty"`
}
