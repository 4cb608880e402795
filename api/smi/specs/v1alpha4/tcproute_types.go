package v1alpha4

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TCPRoute describes TCP traffic by its ports. By itself it does nothing: a TrafficTarget of its namespace
// names it. Gateway API has a kind of the same name: tcproutes.specs.smi-spec.io is this one.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=tcproutes,singular=tcproute,scope=Namespaced,shortName=tr,categories={weft,smi}
// +kubebuilder:printcolumn:name="Ports",type=string,JSONPath=`.spec.matches.ports`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TCPRoute struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what it describes.
	//
	// +required
	Spec TCPRouteSpec `json:"spec"`

	// status is what the operator makes of it.
	//
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status Status `json:"status,omitzero"`
}

// TCPRouteList is a list of TCPRoutes.
//
// +kubebuilder:object:root=true
type TCPRouteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TCPRoute `json:"items"`
}

// TCPRouteSpec is what people write about a TCPRoute.
type TCPRouteSpec struct {
	// matches is the traffic that it describes.
	//
	// +required
	Matches TCPMatch `json:"matches"`
}

// TCPMatch describes TCP traffic.
type TCPMatch struct {
	// name is what a TrafficTarget calls it by.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// ports are those of the destination's pods; none: all.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	Ports []int32 `json:"ports,omitempty"`
}
