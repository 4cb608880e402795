package v1alpha3

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TrafficTarget lets those who run as some ServiceAccounts, the sources, call the pods that run as another,
// the destination, with the traffic that its rules describe. A destination that any TrafficTarget names is
// called by nobody else.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=traffictargets,singular=traffictarget,scope=Namespaced,shortName=tt,categories={weft,smi}
// +kubebuilder:printcolumn:name="Destination",type=string,JSONPath=`.spec.destination.name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TrafficTarget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what should hold.
	//
	// +required
	Spec TrafficTargetSpec `json:"spec"`

	// status is what the operator makes of it.
	//
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status TrafficTargetStatus `json:"status,omitzero"`
}

// TrafficTargetList is a list of TrafficTargets.
//
// +kubebuilder:object:root=true
type TrafficTargetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TrafficTarget `json:"items"`
}

// TrafficTargetSpec is what people write about a TrafficTarget.
type TrafficTargetSpec struct {
	// destination is whom the traffic is for: a ServiceAccount of the TrafficTarget's own namespace.
	//
	// +required
	Destination IdentityBindingSubject `json:"destination"`

	// sources are those who may send it.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Sources []IdentityBindingSubject `json:"sources"`

	// rules describe the traffic: what any of them describes is allowed. Beside HTTPRouteGroups, TCPRoutes say to
	// which ports requests may go.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Rules []TrafficTargetRule `json:"rules"`
}

// IdentityBindingSubject is an identity: a ServiceAccount, or a group of them.
type IdentityBindingSubject struct {
	// kind is ServiceAccount. Group, which SMI has too, means nothing here: it lets nobody in.
	//
	// +required
	// +kubebuilder:validation:Enum=ServiceAccount;Group
	Kind string `json:"kind"`

	// name is that of the ServiceAccount, or of the group.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// namespace is that of the ServiceAccount; the TrafficTarget's when unset.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// TrafficTargetRule names a description of traffic, in the TrafficTarget's namespace.
type TrafficTargetRule struct {
	// kind is HTTPRouteGroup, TCPRoute or UDPRoute, all of the group specs.smi-spec.io.
	//
	// +required
	// +kubebuilder:validation:Enum=HTTPRouteGroup;TCPRoute;UDPRoute
	Kind string `json:"kind"`

	// name is the object's.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// matches are those of an HTTPRouteGroup, by name; none: all of them.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Matches []string `json:"matches,omitempty"`
}

// Types of the conditions of a TrafficTarget. Reconciling and Stalled are present only while True.
const (
	// ConditionAccepted is True while the TrafficTarget is enforced.
	ConditionAccepted = "Accepted"
	// ConditionResolvedRefs is True while all that it names is there and can be used.
	ConditionResolvedRefs = "ResolvedRefs"
	// ConditionReady is True while both are.
	ConditionReady = "Ready"
)

// TrafficTargetStatus is what the operator reports.
type TrafficTargetStatus struct {
	// observedGeneration is the metadata.generation that this status speaks of.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions:
	// Accepted is True while the TrafficTarget is enforced.
	// ResolvedRefs is True while everything that it names is there and can be used.
	// Ready is True while both are.
	// Reconciling is present while something is waited for that may come by itself.
	// Stalled is present while only a change by someone can help; the message says which.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
