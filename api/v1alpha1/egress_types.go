package v1alpha1

// Egress says what becomes of connections to destinations that the mesh does not know: neither a
// Service nor a pod of the cluster.
type Egress struct {
	// mode is Allow or Deny.
	//
	// Allow: they pass through the proxy as they are. This is what holds where no policy says
	// anything.
	//
	// Deny: they are closed.
	//
	// Deny cannot be loosened: Allow holds for a pod only if no policy that selects the pod, at any
	// level, says Deny.
	//
	// +required
	Mode EgressMode `json:"mode"`
}

// EgressMode is what becomes of connections to unknown destinations.
//
// +kubebuilder:validation:Enum=Allow;Deny
type EgressMode string

// The modes of egress.
const (
	EgressAllow EgressMode = "Allow"
	EgressDeny  EgressMode = "Deny"
)
