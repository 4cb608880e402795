package v1alpha1

import gwv1 "sigs.k8s.io/gateway-api/apis/v1"

// Hedging has a request that is not answered in time sent to a second pod too, while the first goes on. The
// answer that comes first is passed on, and the other request is ended: so one slow pod does not make
// callers slow.
//
// What is sent twice may act twice, a POST too: where that is not borne, target the rules of which it is, by
// their names. Hedged requests are retries for every bound of those: the budget of the Service, and
// circuitBreaker.maxRetries. A request of which more than 256 KiB were sent is not hedged.
//
// Where retry holds too, its attempts count both kinds, unless requests is more, and delay takes the place of
// its perTryTimeout. A rule of an HTTPRoute that has a retry of its own, or timeouts.backendRequest, is not
// hedged.
type Hedging struct {
	// delay is how long an answer is waited for before the request is sent once more. It is best set to
	// what 95 of 100 requests take.
	//
	// +required
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="a request that is always sent twice is no hedge: set at least 1ms"
	Delay gwv1.Duration `json:"delay"`

	// requests is how often a request is sent once more at most, each time when delay has passed again. It
	// bounds too how often one is sent again that no pod has seen.
	//
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=5
	Requests *int32 `json:"requests,omitempty"`
}
