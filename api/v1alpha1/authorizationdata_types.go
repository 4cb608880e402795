package v1alpha1

// AuthorizationData names texts in a document, which is YAML or JSON in a ConfigMap of the policy's namespace. Where
// there are none, because the document or what is named in it is missing or is no text, nobody is let in by what
// compares with them. A change of the document is in force as that of a policy is.
type AuthorizationData struct {
	// configMapRef names the document.
	//
	// +required
	ConfigMapRef DocumentRef `json:"configMapRef"`

	// path are the keys that lead, map by map, to a text or to a list of texts, such as [tenants, gold]: up to 1,000
	// texts of up to 256 bytes. A number or true is no text, unless it is in quotes.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	Path []string `json:"path,omitempty"`

	// by is an attribute that is one more key: of a map of up to 256 keys at path, the texts are those under what
	// the attribute is of a request. Where that is no key there are none.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=384
	// +kubebuilder:validation:Pattern=`^(source\.(principal|trustDomain|namespace|serviceAccount)|destination\.(namespace|serviceAccount|labels\[[-A-Za-z0-9_./]+\])|request\.(method|path|host|headers\[[a-z0-9][-a-z0-9]*\]|segments\[[0-9]\])|jwt\.(issuer|subject|claims(\[[^][]+\])+))$`
	By string `json:"by,omitempty"`
}

// DocumentRef names one key of a ConfigMap's data.
type DocumentRef struct {
	// name of the ConfigMap, in the policy's namespace.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key in its data, of up to 131,072 bytes. It ends in .data.yaml, for of ConfigMaps Weft reads nothing that is not
	// meant for it.
	//
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+\.data\.yaml$`
	Key string `json:"key"`
}
