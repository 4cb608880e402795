package v1alpha1

import gwv1 "sigs.k8s.io/gateway-api/apis/v1"

// RateLimit bounds how many requests are let through in a time. What exceeds it is answered 429 with
// Retry-After, or by gRPC RESOURCE_EXHAUSTED, and reaches no app.
//
// +kubebuilder:validation:XValidation:rule="has(self.local) || has(self.global)",message="a rate limit without a limit does nothing: set local or global"
type RateLimit struct {
	// local limits are counted by each proxy for itself: a Gateway's, or the sidecar of a pod that calls.
	// Ten proxies let through ten times as many.
	//
	// A proxy counts what the policy holds for together: all targets, routes and hostnames. It counts
	// apart what comes in at different ports, and at different listeners of protocol HTTPS.
	//
	// +optional
	Local *RequestLimits `json:"local,omitempty"`

	// global limits are of all proxies together: Gateways' and sidecars. What the policy holds for is
	// counted in one place, by the operator, whom proxies ask of each request that they would let
	// through themselves. A request waits up to 50ms for the answer, and goes on without one: while the
	// operator is away, each proxy holds to the whole limit by itself.
	//
	// +optional
	Global *RequestLimits `json:"global,omitempty"`
}

// RequestLimits all hold: a request passes if each has room for it.
type RequestLimits struct {
	// limits that a request meets, each by itself.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Limits []RequestLimit `json:"limits"`

	// headers says what answers tell of the limit that is nearest. Draft03: x-ratelimit-limit, how many at
	// once; x-ratelimit-remaining, how many more now; x-ratelimit-reset, in how many seconds there are
	// more, as version 03 of the IETF's draft RateLimit Header Fields for HTTP calls them. None: nothing.
	// Retry-After is told in either case.
	//
	// +optional
	// +kubebuilder:default=Draft03
	// +kubebuilder:validation:Enum=Draft03;None
	Headers string `json:"headers,omitempty"`
}

// RequestLimit is one bucket of tokens, or one for each value of something. A request takes a token; they
// come back evenly: 60 requests per 1m are one each second.
type RequestLimit struct {
	// requests that are let through per the time in per, in the long run.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	Requests int32 `json:"requests"`

	// per is the time, from 1s to 24h. 1s when unset.
	//
	// +optional
	// +kubebuilder:default="1s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="the time of a limit is from 1s to 24h"
	Per gwv1.Duration `json:"per,omitempty"`

	// burst is how many are let through at once after a time without any: the size of the bucket, which
	// is full at the start. When unset, as many as requests. The buckets of a global limit are full again
	// when another replica of the operator begins to count.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	Burst *int32 `json:"burst,omitempty"`

	// by is what requests are told apart by: those with the same values share a bucket. When unset, all
	// share one. A request that lacks something that is asked for, such as the header, is not counted by
	// this limit: beside one, set another without by, for whatever clients may leave out.
	//
	// A proxy keeps the 10,000 buckets of a local limit that were used last, the operator 100,000 of a
	// global one. A value that comes back after it was forgotten begins with a full one.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4
	By []RequestProperty `json:"by,omitempty"`
}

// RequestProperty is something by which requests differ.
//
// +kubebuilder:validation:XValidation:rule="has(self.header) == (self.type == 'Header')",message="header is for type Header, which needs it",fieldPath=".header"
// +kubebuilder:validation:XValidation:rule="!has(self.value) || self.type in ['Header', 'Method', 'Path']",message="a value is of a Header, Method or Path: leave it out",fieldPath=".value"
type RequestProperty struct {
	// type is Header, SourceIP, Caller, Method or Path.
	//
	// Header: the value of a header.
	//
	// SourceIP: the address of the client, of IPv6 its network of 64 bits. At a Gateway it is who
	// connects; no X-Forwarded-For is believed. At a sidecar it is the last address in the
	// X-Forwarded-For that its app sends, or without one the pod's own.
	//
	// Caller: who calls, by certificate: at a Gateway that asks clients for one, its first URI name, or
	// without one its subject; all who show none share a bucket. At a sidecar all requests are of its own
	// pod; a global limit counts together the pods of a ServiceAccount, by the token that the sidecar has.
	//
	// Method: GET, POST and so on.
	//
	// Path: without its query. Every path that clients think of has a bucket.
	//
	// +required
	// +kubebuilder:validation:Enum=Header;SourceIP;Caller;Method;Path
	Type string `json:"type"`

	// header is the header's name, in any case.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$`
	Header string `json:"header,omitempty"`

	// value of a Header, Method or Path has the limit count only requests with exactly this value.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value,omitempty"`
}
