package v1alpha1

import gwv1 "sigs.k8s.io/gateway-api/apis/v1"

// LoadBalancing says which of a Service's pods gets the next request, or of TCP the next connection. Each
// proxy that sends there decides for itself, by what it knows: its own requests under way, its own turns. By
// hash all proxies agree.
//
// +kubebuilder:validation:XValidation:rule="has(self.algorithm) || has(self.panicThreshold) || has(self.slowStart)",message="load balancing that says nothing does nothing: set algorithm, panicThreshold or slowStart"
// +kubebuilder:validation:XValidation:rule="has(self.hash) == (has(self.algorithm) && self.algorithm in ['RingHash', 'Maglev'])",message="hash is for the algorithms RingHash and Maglev, which need it",fieldPath=".hash"
// +kubebuilder:validation:XValidation:rule="!has(self.slowStart) || !has(self.algorithm) || self.algorithm in ['LeastRequest', 'RoundRobin', 'ClientSideWeighted']",message="slowStart is for the algorithms LeastRequest, RoundRobin and ClientSideWeighted: the others give a pod its whole share at once",fieldPath=".slowStart"
// +kubebuilder:validation:XValidation:rule="!has(self.choices) || has(self.algorithm) && self.algorithm == 'LeastRequest'",message="choices is for the algorithm LeastRequest",fieldPath=".choices"
// +kubebuilder:validation:XValidation:rule="!has(self.ringSize) || has(self.algorithm) && self.algorithm == 'RingHash'",message="ringSize is for the algorithm RingHash",fieldPath=".ringSize"
// +kubebuilder:validation:XValidation:rule="!has(self.clientSideWeighted) || has(self.algorithm) && self.algorithm == 'ClientSideWeighted'",message="clientSideWeighted is for the algorithm ClientSideWeighted",fieldPath=".clientSideWeighted"
type LoadBalancing struct {
	// algorithm is how a pod is chosen. LeastRequest when unset.
	//
	// +optional
	Algorithm LoadBalancingAlgorithm `json:"algorithm,omitempty"`

	// choices is how many pods LeastRequest draws, to take the one with the fewest requests under way.
	// 2 when unset. The more there are the less is left to chance, and the more does every proxy run to
	// the same pod, such as one that has just come.
	//
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=100
	Choices *int32 `json:"choices,omitempty"`

	// hash is what RingHash and Maglev go by: the first of these that a request has. Requests that have
	// none of them go to pods by chance, as do connections of TCP, which have their source only.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.filter(k, k.type == 'SourceIP' || has(k.ttl)).size() == [self[self.size() - 1]].filter(k, k.type == 'SourceIP' || has(k.ttl)).size()",message="each request has a source, and a cookie with ttl is made where there is none: one of these at most, and as the last"
	Hash []HashKey `json:"hash,omitempty"`

	// ringSize is how many places the ring of RingHash has at least, shared out among the pods. The more
	// there are the more even are the shares, and the more memory and time it takes. 1024 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8388608
	RingSize *int32 `json:"ringSize,omitempty"`

	// clientSideWeighted is how the reports of the pods become weights.
	//
	// +optional
	ClientSideWeighted *ClientSideWeighted `json:"clientSideWeighted,omitempty"`

	// panicThreshold is a percentage of a Service's pods. While fewer than that are healthy, by what
	// health checks and outlier detection find, requests go to all of them: when nearly all pods seem
	// to be ill the fault may be with who looks, and the few that are left would break down. With 0 no
	// request ever goes to a pod that is not healthy, and with no healthy pod it is answered 503.
	// 50 when unset, and 71 at most: of a Service with 72 % of its pods healthy a proxy never doubts it.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=71
	PanicThreshold *int32 `json:"panicThreshold,omitempty"`

	// slowStart has a pod that is new begin with a small share, which grows to the whole one. Off when
	// unset.
	//
	// +optional
	SlowStart *SlowStart `json:"slowStart,omitempty"`
}

// LoadBalancingAlgorithm is how a pod is chosen.
//
//   - LeastRequest takes, of two pods drawn by chance, the one with fewer requests under way from this proxy.
//   - RoundRobin takes the pods in turn.
//   - Random takes any.
//   - Maglev and RingHash take the same pod for all requests with the same hash, from whatever proxy. When one
//     of ten pods goes its keys go to the others, and of the keys of these about 1 in 100 moves with Maglev, 1
//     in 14 with RingHash. Maglev's shares are more even too, and it chooses faster; but it has a table of
//     about 0.5 MB for each port in each proxy, made anew whenever a pod comes or goes.
//   - ClientSideWeighted takes the pods in turn by weights made from the load that they report themselves,
//     by ORCA: a pod that says it is busier gets less.
//
// +kubebuilder:validation:Enum=LeastRequest;RoundRobin;Random;RingHash;Maglev;ClientSideWeighted
type LoadBalancingAlgorithm string

// The algorithms.
const (
	AlgorithmLeastRequest       LoadBalancingAlgorithm = "LeastRequest"
	AlgorithmRoundRobin         LoadBalancingAlgorithm = "RoundRobin"
	AlgorithmRandom             LoadBalancingAlgorithm = "Random"
	AlgorithmRingHash           LoadBalancingAlgorithm = "RingHash"
	AlgorithmMaglev             LoadBalancingAlgorithm = "Maglev"
	AlgorithmClientSideWeighted LoadBalancingAlgorithm = "ClientSideWeighted"
)

// HashKey is a thing of a request by which its pod is chosen.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) != (self.type == 'SourceIP')",message="a header, a cookie and a query parameter have a name, and the source's address has none",fieldPath=".name"
// +kubebuilder:validation:XValidation:rule="self.type == 'Cookie' || !has(self.ttl) && !has(self.path)",message="ttl and path are for a cookie"
// +kubebuilder:validation:XValidation:rule="!has(self.path) || has(self.ttl)",message="path is that of the cookie that is made, which none is without ttl",fieldPath=".path"
// +kubebuilder:validation:XValidation:rule="self.type == 'QueryParameter' || !has(self.name) || self.name.matches('^[A-Za-z0-9!#$%&\\'*+.^_`|~-]+$')",message="no header or cookie can have such a name",fieldPath=".name"
type HashKey struct {
	// type is what it is.
	Type HashKeyType `json:"type"`

	// name is that of the header, the cookie or the query parameter.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`

	// ttl has a cookie made for requests without it, which holds that long in the client, in whole seconds;
	// 0s: until the client ends. No cookie is made when unset. Clients that keep no cookies, such as most programs,
	// are given a new one with each answer.
	//
	// +optional
	TTL *gwv1.Duration `json:"ttl,omitempty"`

	// path is under which path the client sends the cookie back that is made. / when unset.
	//
	// +optional
	// +kubebuilder:validation:Pattern=`^/[!-:<-~]*$`
	// +kubebuilder:validation:MaxLength=1024
	Path *string `json:"path,omitempty"`
}

// HashKeyType is what of a request a pod is chosen by. Of a header with several values all count. SourceIP
// is the address of the client: of a Gateway's, as it finds it, for requests between pods, the pod that calls.
//
// +kubebuilder:validation:Enum=Header;Cookie;QueryParameter;SourceIP
type HashKeyType string

// What a hash may be of.
const (
	HashHeader         HashKeyType = "Header"
	HashCookie         HashKeyType = "Cookie"
	HashQueryParameter HashKeyType = "QueryParameter"
	HashSourceIP       HashKeyType = "SourceIP"
)

// ClientSideWeighted is how reports of load become weights. A pod reports with its answers, in the header or
// trailer endpoint-load-metrics, such as
//
//	endpoint-load-metrics: JSON {"cpu_utilization": 0.3, "rps_fractional": 120}
//
// or, as gRPC's libraries do, in endpoint-load-metrics-bin. Its weight is its requests per second divided by
// its utilization: application_utilization, or else cpu_utilization. Reports without both are passed
// over, and pods without reports get the median of the others' weights.
type ClientSideWeighted struct {
	// metrics are to be the utilization in the place of what is usual, such as named_metrics.queue: the
	// highest of those that a report has.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Metrics []string `json:"metrics,omitempty"`

	// blackout is how long a pod must have reported before its weight counts. 10s when unset.
	//
	// +optional
	Blackout *gwv1.Duration `json:"blackout,omitempty"`

	// expiration is how long a weight counts after the last report. 3m when unset.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="a weight that never counts does nothing: set at least 1ms"
	Expiration *gwv1.Duration `json:"expiration,omitempty"`

	// update is how often weights are made of the reports. 1s when unset.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms')",message="weights are made every 100ms at most"
	Update *gwv1.Duration `json:"update,omitempty"`

	// errorPenalty is by how many hundredths of its share of errors a pod's utilization is raised: with
	// 100, one whose every tenth request fails counts as 0.1 busier. 100 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	ErrorPenalty *int32 `json:"errorPenalty,omitempty"`
}

// SlowStart has the share of a new pod grow. A pod is new to each proxy when it learns of it; pods that a
// proxy learns of together are new together, so that they share alike.
type SlowStart struct {
	// window is how long a pod is new.
	//
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="no time is no slow start: leave slowStart out, or set at least 1ms"
	Window gwv1.Duration `json:"window"`

	// aggression is how fast the share grows in the beginning of the window, a decimal number above 0:
	// after the part t of the window the share is t to the power of 1/aggression. With 1.0 it grows
	// steadily; with 2.0 it is half of the whole after a quarter of the window, with 0.5 only a quarter
	// after half of it. 1.0 when unset.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	// +kubebuilder:validation:XValidation:rule="double(self) >= 0.01 && double(self) <= 100.0",message="aggression is from 0.01 to 100.0"
	Aggression *string `json:"aggression,omitempty"`

	// minimumShare is the percentage of the whole share that a pod gets from the first moment on.
	// 10 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MinimumShare *int32 `json:"minimumShare,omitempty"`
}
