package v1alpha4

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HTTPRouteGroup describes HTTP requests: each of its matches some of them. By itself it does nothing: a
// TrafficSplit or a TrafficTarget of its namespace names it.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=httproutegroups,singular=httproutegroup,scope=Namespaced,shortName=htr,categories={weft,smi}
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type HTTPRouteGroup struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what it describes.
	//
	// +required
	Spec HTTPRouteGroupSpec `json:"spec"`

	// status is what the operator makes of it.
	//
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status Status `json:"status,omitzero"`
}

// HTTPRouteGroupList is a list of HTTPRouteGroups.
//
// +kubebuilder:object:root=true
type HTTPRouteGroupList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HTTPRouteGroup `json:"items"`
}

// HTTPRouteGroupSpec is what people write about an HTTPRouteGroup.
type HTTPRouteGroupSpec struct {
	// matches each describe requests. A request is described by the group if any of them does.
	//
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Matches []HTTPMatch `json:"matches"`
}

// HTTPMatch describes the requests that meet all that it says. One that says nothing but its name describes
// all to a TrafficSplit, and none to a TrafficTarget, which takes it for a mistake.
type HTTPMatch struct {
	// name is what a TrafficTarget calls it by.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// methods are those that a request may have; * or none at all: any.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=10
	Methods []HTTPMethod `json:"methods,omitempty"`

	// pathRegex is a regular expression (RE2) for the path, without the query. It is anchored at the
	// beginning and not at the end: /api describes /api, /api/a and /apis too; write /api$ for the one,
	// /api(/.*)?$ for it and what is under it. To a TrafficTarget it describes whole paths: /api is /api alone.
	// None: any path.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	PathRegex string `json:"pathRegex,omitempty"`

	// headers are regular expressions (RE2) for the values of headers, by the header's name. Each must
	// match the whole value.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	Headers map[string]HeaderRegex `json:"headers,omitempty"`
}

// HTTPMethod is a method of HTTP, or * for any.
//
// +kubebuilder:validation:Enum="*";GET;HEAD;PUT;POST;DELETE;CONNECT;OPTIONS;TRACE;PATCH
type HTTPMethod string

// AnyMethod stands for all methods.
const AnyMethod HTTPMethod = "*"

// HeaderRegex is a regular expression for the whole value of a header.
//
// +kubebuilder:validation:MaxLength=1024
type HeaderRegex string
