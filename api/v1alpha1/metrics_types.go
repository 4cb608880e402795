package v1alpha1

// Metrics says where the figures of traffic are stored that Weft's proxies give.
type Metrics struct {
	// prometheus is the one that scrapes the proxies with the configuration that Weft ships
	// (config/prometheus). Weft asks it for what SMI's TrafficMetrics tell; nothing else needs it.
	//
	// +optional
	Prometheus *PrometheusReference `json:"prometheus,omitempty"`
}

// PrometheusReference names a Prometheus, or what answers as one.
//
// +kubebuilder:validation:XValidation:rule="!has(self.secretRef) || self.url.startsWith('https://')",message="a token and an authority are for https only: write url with https://, or leave secretRef out",fieldPath=".secretRef"
type PrometheusReference struct {
	// url is what stands before /api/v1 in the address of its API, such as
	// http://prometheus.monitoring.svc:9090. The operator connects to it from the namespace weft-system.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/?#@[:space:]]+(/[^?#[:space:]]*)?$')",message="write http:// or https://, a host, a port if it is not the usual one, and a path if there is one before /api/v1: no user, no query"
	URL string `json:"url"`

	// secretRef names a Secret in weft-system. Of its keys, token is shown to Prometheus as a bearer's,
	// and ca.crt is the authority that signed Prometheus's certificate, in PEM. Either may be missing;
	// without ca.crt the authorities of the operator's image are trusted.
	//
	// +optional
	SecretRef *SecretName `json:"secretRef,omitempty"`
}

// SecretName names a Secret in weft-system.
type SecretName struct {
	// name of the Secret.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}
