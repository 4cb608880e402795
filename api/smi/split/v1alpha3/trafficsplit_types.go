package v1alpha3

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/api/smi/split/v1alpha4"
)

// TrafficSplit sends the traffic that callers in the mesh have for one Service, the apex, to other
// Services of its namespace, each to a part of it. Callers go on naming the apex.
//
// Where a port of the apex has a route of Gateway API, the route decides, and the status of the split
// says so; the split takes over when the route goes. Of several splits of one apex the oldest holds, then
// the first by name.
//
// This is the version v1alpha3, as older tools write it; objects are stored as v1alpha4. It says
// the same.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=trafficsplits,singular=trafficsplit,scope=Namespaced,shortName=ts,categories={weft,smi}
// +kubebuilder:printcolumn:name="Service",type=string,JSONPath=`.spec.service`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Weights",type=string,JSONPath=`.status.weights`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TrafficSplit struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what should hold.
	//
	// +required
	Spec TrafficSplitSpec `json:"spec"`

	// status is what does hold, written by the operator.
	//
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status v1alpha4.TrafficSplitStatus `json:"status,omitzero"`
}

// TrafficSplitList is a list of TrafficSplits.
//
// +kubebuilder:object:root=true
type TrafficSplitList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TrafficSplit `json:"items"`
}

// TrafficSplitSpec is what people and tools write about a TrafficSplit.
type TrafficSplitSpec struct {
	// service is the apex: the Service that callers name, of the same namespace. Its name, or its DNS name
	// such as web.shop.svc.cluster.local.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Service string `json:"service"`

	// backends are the Services of the same namespace that get the traffic, each by the port of the number
	// that the caller has asked the apex for. One without such a port, or that does not exist, gets
	// nothing: the others share. One that is named twice has the sum of both weights.
	//
	// The apex may be one of them: then its own endpoints get that part. Another split's apex gets its part
	// too, without being split again.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=24
	Backends []TrafficSplitBackend `json:"backends"`

	// matches name HTTPRouteGroups of the same namespace. With them, the split is for those requests alone
	// that a match of any of these groups describes; all others go to the apex Service itself, and so does
	// what is not HTTP. Without them, it is for all of the traffic.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Matches []TrafficSplitMatch `json:"matches,omitempty"`
}

// TrafficSplitBackend is a Service that gets a part of the traffic.
type TrafficSplitBackend struct {
	// service is a Service of the same namespace, by its name or its DNS name.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Service string `json:"service"`

	// weight is the backend's share: of all weights together, this part of the traffic goes to it. A
	// backend of weight 0 gets nothing, and need not exist yet.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	Weight int `json:"weight"`
}

// TrafficSplitMatch names an HTTPRouteGroup of the TrafficSplit's namespace.
type TrafficSplitMatch struct {
	// kind is HTTPRouteGroup.
	//
	// +required
	// +kubebuilder:validation:Enum=HTTPRouteGroup
	Kind string `json:"kind"`

	// name is that of the HTTPRouteGroup.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// apiGroup, where it is written, is specs.smi-spec.io.
	//
	// +optional
	// +kubebuilder:validation:Enum="";specs.smi-spec.io
	APIGroup string `json:"apiGroup,omitempty"`
}
