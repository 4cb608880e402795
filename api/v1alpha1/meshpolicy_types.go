package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ConditionConflicted is present on a MeshPolicy, and True, while another one says something else
// of the same target.
const ConditionConflicted = "Conflicted"

// ConditionOverridden is present on a MeshPolicy, and True, while policies of inner levels have a section
// about traffic that it has too: their word holds for their part.
const ConditionOverridden = "Overridden"

// MeshPolicy says what should hold for some of the traffic of its own namespace: one optional section
// for each feature, for all targets alike.
//
// What applies to a request is looked for from outside in: mesh, namespace, ServiceAccount, pods by
// label, Service or Gateway, port or listener, route, named rule. Of sections about traffic, the
// innermost level that has one wins. Sections about security (mtls, jwt, apiKey, basicAuth, oidc,
// authorization, extAuth and egress) only tighten: an outer policy's demand cannot be loosened by an inner one. Where two policies
// of one level disagree, the stricter holds in mtls and egress, and in others the older, then the first by
// name; both say so in their status.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=meshpolicies,scope=Namespaced,shortName=mp,categories=weft
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Proxies",type=string,JSONPath=`.status.proxies.summary`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MeshPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what should hold.
	//
	// +required
	Spec MeshPolicySpec `json:"spec"`

	// status is what does hold, written by the operator.
	//
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status MeshPolicyStatus `json:"status,omitzero"`
}

// MeshPolicyList is a list of MeshPolicies.
//
// +kubebuilder:object:root=true
type MeshPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MeshPolicy `json:"items"`
}

// MeshPolicySpec is what people write about a MeshPolicy: whom it is about, and what should hold.
//
// +kubebuilder:validation:XValidation:rule="has(self.mtls) || has(self.egress) || has(self.serverTLS) || has(self.circuitBreaker) || has(self.timeout) || has(self.loadBalancing) || has(self.outlierDetection) || has(self.healthCheck) || has(self.rateLimit) || has(self.retry) || has(self.hedging) || has(self.fault) || has(self.extensions) || has(self.compression) || has(self.match) || has(self.admissionControl) || has(self.locality) || has(self.authorization) || has(self.jwt) || has(self.apiKey) || has(self.basicAuth) || has(self.extAuth) || has(self.oidc)",message="a policy without a section says nothing: set one, such as mtls or timeout"
// +kubebuilder:validation:XValidation:rule="self.mode != 'Shadow' || !has(self.serverTLS) && !has(self.circuitBreaker) && !has(self.timeout) && !has(self.loadBalancing) && !has(self.outlierDetection) && !has(self.healthCheck) && !has(self.rateLimit) && !has(self.retry) && !has(self.hedging) && !has(self.fault) && !has(self.extensions) && !has(self.compression) && !has(self.match) && !has(self.admissionControl) && !has(self.locality) && !has(self.apiKey) && !has(self.basicAuth) && !has(self.extAuth) && !has(self.oidc) && (has(self.mtls) || has(self.egress) || has(self.authorization) || has(self.jwt))",message="Shadow is for mtls, egress, authorization and jwt only",fieldPath=".mode"
// +kubebuilder:validation:XValidation:rule="!has(self.mtls) || !has(self.targetRefs) || self.targetRefs.all(t, !has(t.kind) || t.kind in ['Service', 'ServiceAccount'])",message="mtls is about pods: target a Service, a ServiceAccount or pods",fieldPath=".mtls"
// +kubebuilder:validation:XValidation:rule="!has(self.egress) || !has(self.targetRefs) || self.targetRefs.all(t, !has(t.kind) || t.kind == 'ServiceAccount')",message="egress is about pods that call: target a ServiceAccount or pods",fieldPath=".egress"
// +kubebuilder:validation:XValidation:rule="!has(self.serverTLS) || has(self.targetRefs) && self.targetRefs.all(t, has(t.kind) && t.kind == 'Service' && (has(t.port) || has(t.sectionName)))",message="serverTLS is about ports of Services: target a Service with port or sectionName",fieldPath=".serverTLS"
// +kubebuilder:validation:XValidation:rule="!has(self.circuitBreaker) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind == 'Service')",message="circuitBreaker is about what is sent to Services: target one, or a port of it",fieldPath=".circuitBreaker"
// +kubebuilder:validation:XValidation:rule="!has(self.retry) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind in ['Service', 'Gateway', 'HTTPRoute', 'GRPCRoute'])",message="retry is about requests: target a Service, a Gateway or a route",fieldPath=".retry"
// +kubebuilder:validation:XValidation:rule="!has(self.timeout) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind in ['Service', 'Gateway', 'HTTPRoute', 'GRPCRoute'])",message="timeout is about requests: target a Service, a Gateway or a route",fieldPath=".timeout"
// +kubebuilder:validation:XValidation:rule="!has(self.loadBalancing) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind == 'Service')",message="loadBalancing is about what is sent to Services: target one, or a port of it",fieldPath=".loadBalancing"
// +kubebuilder:validation:XValidation:rule="!has(self.locality) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind == 'Service')",message="locality is about what is sent to Services: target one, or a port of it",fieldPath=".locality"
// +kubebuilder:validation:XValidation:rule="!has(self.outlierDetection) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind == 'Service')",message="outlierDetection is about what is sent to Services: target one, or a port of it",fieldPath=".outlierDetection"
// +kubebuilder:validation:XValidation:rule="!has(self.healthCheck) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind == 'Service')",message="healthCheck is about the pods of Services: target one, or a port of it",fieldPath=".healthCheck"
// +kubebuilder:validation:XValidation:rule="!has(self.rateLimit) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind in ['Service', 'Gateway', 'HTTPRoute', 'GRPCRoute'])",message="rateLimit is about requests: target a Service, a Gateway or a route",fieldPath=".rateLimit"
// +kubebuilder:validation:XValidation:rule="!has(self.hedging) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind in ['Service', 'Gateway', 'HTTPRoute', 'GRPCRoute'])",message="hedging is about requests: target a Service, a Gateway or a route",fieldPath=".hedging"
// +kubebuilder:validation:XValidation:rule="!has(self.hedging) || !has(self.retry) || !has(self.retry.perTryTimeout)",message="hedging.delay takes the place of retry.perTryTimeout: leave that out",fieldPath=".retry.perTryTimeout"
// +kubebuilder:validation:XValidation:rule="!has(self.fault) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind in ['Service', 'Gateway', 'HTTPRoute', 'GRPCRoute'])",message="fault is about requests: target a Service, a Gateway or a route",fieldPath=".fault"
// +kubebuilder:validation:XValidation:rule="!has(self.fault) || !has(self.fault.from) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind == 'Service')",message="callers are known where they call a Service, not at Gateways and routes: target a Service, or remove from",fieldPath=".fault.from"
// +kubebuilder:validation:XValidation:rule="!has(self.extensions) || has(self.targetRefs) && self.targetRefs.all(t, has(t.kind) && t.kind in ['Service', 'Gateway', 'HTTPRoute', 'GRPCRoute'])",message="extensions are about some requests, not about all of a namespace or the mesh: target a Service, a Gateway or a route",fieldPath=".extensions"
// +kubebuilder:validation:XValidation:rule="!has(self.compression) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind in ['Gateway', 'HTTPRoute'])",message="compression is about what Gateways answer by HTTP: target a Gateway, a listener or an HTTPRoute",fieldPath=".compression"
// +kubebuilder:validation:XValidation:rule="!has(self.match) || has(self.targetRefs) && self.targetRefs.all(t, has(t.kind) && t.kind in ['HTTPRoute', 'GRPCRoute'] && has(t.sectionName))",message="match narrows rules of routes: target an HTTPRoute or a GRPCRoute, with the name of a rule as sectionName",fieldPath=".match"
// +kubebuilder:validation:XValidation:rule="!has(self.admissionControl) || !has(self.targetRefs) || self.targetRefs.all(t, has(t.kind) && t.kind in ['Service', 'Gateway', 'HTTPRoute', 'GRPCRoute'])",message="admissionControl is about requests: target a Service, a Gateway or a route",fieldPath=".admissionControl"
// +kubebuilder:validation:XValidation:rule="!has(self.oidc) || has(self.targetRefs) && self.targetRefs.all(t, has(t.kind) && t.kind in ['Gateway', 'HTTPRoute'])",message="oidc is about people who come by a Gateway: target a Gateway, a listener or an HTTPRoute",fieldPath=".oidc"
type MeshPolicySpec struct {
	// targetRefs name what the policy is about, in its own namespace. Without any it is about the
	// whole namespace, and in the namespace weft-system about the whole mesh.
	//
	// A target that does not exist is waited for; the others hold meanwhile.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	TargetRefs []PolicyTarget `json:"targetRefs,omitempty"`

	// mode is Enforce or Shadow.
	//
	// Enforce: the policy holds.
	//
	// Shadow: nothing is refused because of the policy; what it would refuse, were it enforced beside
	// those that are, is counted by the proxy that lets it pass, in the metric
	// weft_shadow_denied_total, and of authorization and jwt it is logged too. Only mtls, egress,
	// authorization and jwt can be shadowed.
	//
	// In Shadow, jwt has claimHeaders filled by valid tokens, and removes what clients write there
	// themselves. No policy that is enforced goes by the claims of tokens that only policies in
	// Shadow demand.
	//
	// +optional
	// +kubebuilder:default=Enforce
	Mode PolicyMode `json:"mode,omitempty"`

	// mtls says whether plaintext is accepted. It may target the mesh, a namespace, ServiceAccounts,
	// pods, Services and their ports. On a Service it is about the ports of pods that the Service's
	// ports lead to.
	//
	// +optional
	MTLS *MTLS `json:"mtls,omitempty"`

	// egress says whether destinations that the mesh does not know may be called. It may target the
	// mesh, a namespace, ServiceAccounts and pods.
	//
	// +optional
	Egress *Egress `json:"egress,omitempty"`

	// serverTLS has sidecars end the TLS of clients outside the mesh, which a Gateway passes through. It
	// targets ports of Services.
	//
	// +optional
	ServerTLS *ServerTLS `json:"serverTLS,omitempty"`

	// jwt demands of each request a token that a provider made. It may target all that a policy can: the mesh, a
	// namespace, ServiceAccounts, pods, Services and their ports, where the sidecar of the pod that is called asks
	// for it; Gateways and their listeners, routes at Gateways and their rules by name.
	//
	// +optional
	JWT *JWT `json:"jwt,omitempty"`

	// apiKey demands of each request a key that a client was given. It may target what jwt may.
	//
	// +optional
	APIKey *APIKey `json:"apiKey,omitempty"`

	// basicAuth demands of each request a user and a password. It may target what jwt may.
	//
	// +optional
	BasicAuth *BasicAuth `json:"basicAuth,omitempty"`

	// oidc has people log in at an OpenID provider. It targets Gateways and their listeners, HTTPRoutes at Gateways and
	// their rules by name.
	//
	// +optional
	OIDC *OIDC `json:"oidc,omitempty"`

	// authorization says who may call what. It may target all that a policy can: the mesh, a namespace,
	// ServiceAccounts, pods, Services and their ports, where the sidecar of the pod that is called goes by it;
	// Gateways and their listeners, routes at Gateways and their rules by name.
	//
	// +optional
	Authorization *Authorization `json:"authorization,omitempty"`

	// extAuth has a server of your own asked about each request. It may target all that a policy can: the mesh, a
	// namespace, ServiceAccounts, pods, Services and their ports, where the sidecar of the pod that is called asks;
	// Gateways and their listeners, routes at Gateways and their rules by name.
	//
	// +optional
	ExtAuth *ExtAuth `json:"extAuth,omitempty"`

	// circuitBreaker bounds what one proxy has under way to a Service. It may target the mesh, a
	// namespace, Services and their ports, and holds for all proxies that send there.
	//
	// +optional
	CircuitBreaker *CircuitBreaker `json:"circuitBreaker,omitempty"`

	// retry has requests sent again that failed. It may target the mesh, a namespace, Services and their
	// ports as pods call them, Gateways and their listeners, routes and their rules by name.
	//
	// +optional
	Retry *Retry `json:"retry,omitempty"`

	// timeout bounds how long requests take. It may target the mesh, a namespace, Services and their
	// ports as pods call them, Gateways and their listeners, routes and their rules by name.
	//
	// +optional
	Timeout *Timeout `json:"timeout,omitempty"`

	// loadBalancing says which of a Service's pods gets the next request or connection. It may target
	// the mesh, a namespace, Services and their ports, and holds for all proxies that send there.
	//
	// +optional
	LoadBalancing *LoadBalancing `json:"loadBalancing,omitempty"`

	// locality has a proxy prefer the pods that are near to it. It may target the mesh, a namespace, Services
	// and their ports, and holds for all proxies that send there.
	//
	// +optional
	Locality *Locality `json:"locality,omitempty"`

	// outlierDetection has a proxy send nothing, for a time, to a pod that fails. It may target the mesh, a
	// namespace, Services and their ports, and holds for all proxies that send there.
	//
	// +optional
	OutlierDetection *OutlierDetection `json:"outlierDetection,omitempty"`

	// healthCheck has proxies ask the pods of a Service whether they are well. It may target the mesh, a
	// namespace, Services and their ports, and holds for all proxies that send there.
	//
	// +optional
	HealthCheck *HealthCheck `json:"healthCheck,omitempty"`

	// rateLimit bounds how many requests are let through in a time. It may target the mesh, a namespace,
	// Services and their ports as pods call them, Gateways and their listeners, routes and their rules by
	// name.
	//
	// +optional
	RateLimit *RateLimit `json:"rateLimit,omitempty"`

	// hedging has requests that are slow sent to a second pod too. It may target what retry may.
	//
	// +optional
	Hedging *Hedging `json:"hedging,omitempty"`

	// fault makes requests late, or has them fail, on purpose and for a time. It may target the mesh, a
	// namespace, Services and their ports as pods call them, Gateways and their listeners, routes and
	// their rules by name.
	//
	// +optional
	Fault *Fault `json:"fault,omitempty"`

	// extensions are filters that Weft does not model: scripts of Lua, or one server of ext_proc, or one module of
	// WebAssembly. Requests meet scripts in this order, answers in the other one. They may target Services and their ports as pods call
	// them, Gateways and their listeners, routes and their rules by name. The innermost policy's hold, all of
	// them and no other's.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.all(e, self.exists_one(f, f.name == e.name))",message="each extension has a name of its own"
	// +kubebuilder:validation:XValidation:rule="size(self) == 1 || self.all(e, has(e.lua))",message="a server, or a module, must be the policy's only extension: while one waits for an answer, proxies would pass over the others"
	Extensions []Extension `json:"extensions,omitempty"`

	// compression has Gateways compress what they answer. It may target the mesh, a namespace, Gateways and
	// their listeners, HTTPRoutes and their rules by name.
	//
	// +optional
	Compression *Compression `json:"compression,omitempty"`

	// match narrows rules of routes, so that they take some requests only: of some callers, from some Nodes, or by an
	// expression. It targets rules by name.
	//
	// +optional
	Match *Match `json:"match,omitempty"`

	// admissionControl has requests turned away to what has failed much of late. It may target the mesh, a
	// namespace, Services and their ports as pods call them, Gateways and their listeners, routes and their
	// rules by name.
	//
	// +optional
	AdmissionControl *AdmissionControl `json:"admissionControl,omitempty"`
}

// PolicyMode says whether a policy holds, or is tried out.
//
// +kubebuilder:validation:Enum=Enforce;Shadow
type PolicyMode string

// The modes of a policy.
const (
	PolicyEnforce PolicyMode = "Enforce"
	PolicyShadow  PolicyMode = "Shadow"
)

// PolicyTarget is one thing that a policy is about: an object by kind and name, or pods.
//
// +kubebuilder:validation:XValidation:rule="has(self.pods) ? !has(self.kind) && !has(self.name) && !has(self.group) && !has(self.sectionName) && !has(self.port) : has(self.kind) && has(self.name)",message="a target has kind and name, or pods alone"
// +kubebuilder:validation:XValidation:rule="!has(self.group) || !has(self.kind) || (self.kind in ['Service', 'ServiceAccount'] ? self.group.size() == 0 : self.group == 'gateway.networking.k8s.io')",message="the kind is not of that group: leave group out",fieldPath=".group"
// +kubebuilder:validation:XValidation:rule="!has(self.sectionName) || !has(self.kind) || self.kind != 'ServiceAccount'",message="a ServiceAccount has no sections",fieldPath=".sectionName"
// +kubebuilder:validation:XValidation:rule="!has(self.port) || has(self.kind) && self.kind == 'Service' && !has(self.sectionName)",message="port is for a Service, and instead of sectionName",fieldPath=".port"
type PolicyTarget struct {
	// group of the object. It follows from kind and may be left out: "" for Service and
	// ServiceAccount, gateway.networking.k8s.io for the others.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Group *string `json:"group,omitempty"`

	// kind of the object: Service, ServiceAccount (the pods that run as it), Gateway, HTTPRoute or
	// GRPCRoute.
	//
	// +optional
	// +kubebuilder:validation:Enum=Service;ServiceAccount;Gateway;HTTPRoute;GRPCRoute
	Kind string `json:"kind,omitempty"`

	// name of the object, in the policy's namespace.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// sectionName is the name of a part of the object: a port of a Service, a listener of a Gateway,
	// a rule of a route. When unset, the target is the whole object.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SectionName string `json:"sectionName,omitempty"`

	// port of a Service, by number: the one that clients of the Service use. An alternative to
	// sectionName, for ports without a name.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`

	// pods selects pods of the policy's namespace by their labels.
	//
	// +optional
	Pods *PodSelection `json:"pods,omitempty"`
}

// PodSelection selects pods.
//
// +kubebuilder:validation:XValidation:rule="has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0 || has(self.selector.matchExpressions) && size(self.selector.matchExpressions) > 0",message="an empty selector is every pod: leave targetRefs out instead",fieldPath=".selector"
type PodSelection struct {
	// selector is a label selector. It is not empty: a policy about all pods of a namespace has no
	// targetRefs.
	//
	// +required
	Selector metav1.LabelSelector `json:"selector"`
}

// MeshPolicyStatus is what the operator reports.
type MeshPolicyStatus struct {
	// observedGeneration is the metadata.generation that this status speaks of.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions:
	// Ready is True when the policy holds for all of its targets, and every connected proxy that it
	// reaches has acknowledged it.
	// Reconciling is present while that is under way, or a target is waited for.
	// Stalled is present while only a change by someone can help; the message says which.
	// Conflicted is present while another policy says something else of the same target; the message
	// names it, and says whose holds.
	// Overridden is present while policies that are nearer to the requests have a section about traffic
	// that it has too; the message names them. It holds for the rest.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// ancestors tell of each target by itself: Accepted, and Programmed once the proxies have it. A
	// target by labels, like none at all, is told of under its Namespace; the mesh under the
	// kind Mesh, name default.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Ancestors []gwv1.PolicyAncestorStatus `json:"ancestors,omitempty"`

	// rules tell how each rule and role of authorization is decided.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=96
	Rules []RuleStatus `json:"rules,omitempty"`

	// proxies counts the connected proxies that the policy reaches.
	//
	// +optional
	Proxies *PolicyProxies `json:"proxies,omitempty"`
}

// RuleStatus tells how a rule is decided. One that can never hold is not told of.
type RuleStatus struct {
	// name of the rule; of a role roles/ and its name.
	//
	// +required
	// +kubebuilder:validation:MaxLength=80
	Name string `json:"name"`

	// decidedBy is Native (Envoy's own matchers), CEL (an expression, where these hold) or OPA (which would have to
	// be asked: the rule lets nobody in, or keeps out more than it says).
	//
	// +required
	// +kubebuilder:validation:Enum=Native;CEL;OPA
	DecidedBy string `json:"decidedBy"`

	// because says what of the rule is no matcher's business.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Because string `json:"because,omitempty"`
}

// PolicyProxies counts the proxies that a policy reaches. One that has just connected counts from
// its first acknowledgement on.
type PolicyProxies struct {
	// total is the number of connected proxies that the policy reaches.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Total int32 `json:"total"`

	// acknowledged is how many of them have applied it.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Acknowledged int32 `json:"acknowledged"`

	// summary is acknowledged/total, such as 3/3.
	//
	// +required
	// +kubebuilder:validation:MaxLength=32
	Summary string `json:"summary"`

	// refused names the proxies that refused what the policy made of their configuration, and go on
	// with what they had. At most 32 are listed.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Refused []Refusal `json:"refused,omitempty"`
}
