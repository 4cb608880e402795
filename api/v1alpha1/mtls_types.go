package v1alpha1

// MTLS says what the ports of pods in the mesh accept.
type MTLS struct {
	// mode is Strict or Permissive.
	//
	// Strict: connections by mTLS with a certificate of the mesh only. This is what holds where no
	// policy says anything.
	//
	// Permissive: plaintext too, for callers that are not in the mesh yet. Callers that are in the
	// mesh go on to use mTLS.
	//
	// Strict cannot be loosened: Permissive holds for a port only if no policy that selects the
	// port, at any level, says Strict.
	//
	// +required
	Mode MTLSMode `json:"mode"`
}

// MTLSMode is what a port accepts.
//
// +kubebuilder:validation:Enum=Strict;Permissive
type MTLSMode string

// The modes of mtls.
const (
	MTLSStrict     MTLSMode = "Strict"     // mTLS only
	MTLSPermissive MTLSMode = "Permissive" // plaintext too
)
