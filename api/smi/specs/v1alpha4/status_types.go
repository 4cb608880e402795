package v1alpha4

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Types of the conditions of every kind of this group. Stalled is present only while True.
const (
	// ConditionAccepted is True while all of it can be used.
	ConditionAccepted = "Accepted"
	// ConditionReady is True while Accepted is.
	ConditionReady = "Ready"
)

// ReasonInvalidMatch says that a match cannot be used; whatever names it behaves as if it matched nothing.
const ReasonInvalidMatch = "InvalidMatch"

// Status is what the operator makes of a description of traffic.
type Status struct {
	// observedGeneration is the metadata.generation that this status speaks of.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions:
	// Accepted is True while all of it can be used; otherwise the message says what cannot.
	// Ready is True while Accepted is.
	// Stalled is present while only a change by someone can help.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// usedBy are the objects of the same namespace that name it, in order. At most 64 are listed.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	UsedBy []User `json:"usedBy,omitempty"`
}

// User is an object that names another.
type User struct {
	// kind is TrafficSplit or TrafficTarget.
	//
	// +required
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`

	// name is the object's, in the same namespace.
	//
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}
