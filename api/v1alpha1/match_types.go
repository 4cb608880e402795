package v1alpha1

// Match narrows a rule of a route: of the requests that the rule's own matches take it takes those that this takes
// too. The others go on to the next rule that matches, as if this one were not there.
//
// Of rules whose matches are alike, one that is narrowed comes before one that is not.
type Match struct {
	// from are the callers whose requests the rule takes, by what their sidecars prove to be. They are known where
	// pods call a Service that the route is attached to. What comes by a Gateway is of none of them: there the rule
	// takes nothing.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	From []Caller `json:"from"`
}

// Caller is who calls: the pods of a namespace, or those of them that run as one ServiceAccount.
type Caller struct {
	// namespace of the calling pods.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace"`

	// serviceAccount that they run as. Any when unset.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`
	ServiceAccount string `json:"serviceAccount,omitempty"`
}
