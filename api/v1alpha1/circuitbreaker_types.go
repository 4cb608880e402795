package v1alpha1

// CircuitBreaker bounds what one proxy has under way to a Service's port at once. What exceeds it is answered
// 503 at once, of TCP the connection is closed, so that an overloaded Service is not buried deeper.
//
// Every proxy counts for itself: ten callers with maxRequests 100 may have 1,000 under way together.
//
// +kubebuilder:validation:XValidation:rule="has(self.maxConnections) || has(self.maxPendingRequests) || has(self.maxRequests) || has(self.maxRetries)",message="a circuit breaker without a bound does nothing: set at least one"
type CircuitBreaker struct {
	// maxConnections bounds the connections. Requests that need one more wait, as far as
	// maxPendingRequests lets them. Over HTTP/2, which sidecars speak to each other, one connection
	// carries many requests: bound maxRequests there. Unbounded when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxConnections *int32 `json:"maxConnections,omitempty"`

	// maxPendingRequests bounds the requests that wait for a connection. Unbounded when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxPendingRequests *int32 `json:"maxPendingRequests,omitempty"`

	// maxRequests bounds the requests that are under way. Unbounded when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxRequests *int32 `json:"maxRequests,omitempty"`

	// maxRetries bounds the retries that are under way, in the place of a budget in proportion to the
	// requests. When unset that budget holds: 20 % of the requests, or as an XBackendTrafficPolicy says.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxRetries *int32 `json:"maxRetries,omitempty"`
}
