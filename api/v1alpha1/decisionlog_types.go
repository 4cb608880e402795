package v1alpha1

// DecisionMode says which decisions are told of.
//
// +kubebuilder:validation:Enum=None;Denied;All
type DecisionMode string

const (
	DecisionsNone   DecisionMode = "None"
	DecisionsDenied DecisionMode = "Denied"
	DecisionsAll    DecisionMode = "All"
)

// DecisionLog says what proxies tell weft authz (dist/authz.yaml), which remembers it for weft why and
// writes it down. No request waits for that.
//
// +kubebuilder:validation:XValidation:rule="!has(self.claims) || (has(self.decisions) && self.decisions != 'None')",message="nothing is told: write decisions: Denied or All, or leave claims out",fieldPath=".claims"
type DecisionLog struct {
	// decisions that are told of:
	// None: none. The default; proxies have nothing for it.
	// Denied: of requests that a proxy itself denied, and of those that a policy in Shadow would have
	// denied.
	// All: of these, and of all that policies with authorization or jwt let in.
	//
	// +optional
	Decisions DecisionMode `json:"decisions,omitempty"`

	// claims of verified tokens that are kept of each decision, by their names, beside those that the
	// policies ask for by which it was made. No other claim is.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Claims []string `json:"claims,omitempty"`
}

// Told says whether any decisions are.
func (d DecisionLog) Told() bool { return d.Decisions != "" && d.Decisions != DecisionsNone }
