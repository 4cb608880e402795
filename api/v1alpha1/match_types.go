package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Match narrows a rule of a route: of the requests that the rule's own matches take it takes those that this takes
// too: those to which all fields apply that are set. The others go on to the next rule that matches, as if this one
// were not there.
//
// Of rules whose matches are alike, one that is narrowed comes before one that is not.
//
// +kubebuilder:validation:XValidation:rule="has(self.from) || has(self.nodeSelector) || has(self.claims) || has(self.cel)",message="it narrows nothing: set from, nodeSelector, claims or cel"
type Match struct {
	// from are the callers whose requests the rule takes, by what their sidecars prove to be: one of them is enough.
	// They are known where pods call a Service that the route is attached to. What comes by a Gateway is of none of
	// them: there the rule takes nothing.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	From []Caller `json:"from,omitempty"`

	// nodeSelector selects the Nodes from which the rule takes requests, by their labels, such as
	// topology.kubernetes.io/zone. The Node is that of the proxy that sends the request: of the caller's own sidecar,
	// or of the Gateway's. A proxy whose Node is not known yet takes nothing by the rule, and neither does one whose
	// Node has no value of any label that a policy goes by.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",message="it selects every Node: name a label, or leave it out"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchLabels) || size(self.matchLabels) <= 16",message="at most 16 labels",fieldPath=".matchLabels"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || size(self.matchExpressions) <= 16",message="at most 16 expressions",fieldPath=".matchExpressions"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || size(self.matchExpressions) > 16 || self.matchExpressions.all(e, e.operator == 'In' || e.operator == 'NotIn')",message="Nodes are selected by values of labels: the operators are In and NotIn",fieldPath=".matchExpressions"
	NodeSelector *metav1.LabelSelector `json:"nodeSelector,omitempty"`

	// claims must all be in a token of the request, which the proxy that routes it has verified: the Gateway's or, of what
	// pods call, the caller's own sidecar. Whose tokens these are say the policies with jwt that are about the requests:
	// of a Gateway, a listener, the route or the rule, or of the Service or port that is called, or of their namespace or
	// the mesh; the innermost of these. A request without a token, or whose token is not valid, has no claims: the rule
	// does not take it, and what may be refused is refused by those policies, where it goes then. Where none is about the
	// requests, the rule takes nothing.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Claims []RequiredClaim `json:"claims,omitempty"`

	// cel is an expression in the Common Expression Language that is true of the requests that the rule takes. An
	// expression that fails while it is evaluated, such as one that reads a header which a request does not have, is
	// not true. One that cannot be compiled is refused, or said by the policy's status; of it nothing is true.
	//
	// It knows request.method, request.scheme, request.host, request.url_path, request.path (with the query),
	// request.query, request.protocol, request.id, request.referer and request.useragent, all strings, request.headers,
	// a map of strings by lower-case names, and request.time; and of the caller caller.namespace and
	// caller.serviceAccount, which are empty at Gateways, caller.region and caller.zone, those of its Node.
	//
	// Of the language it has &&, ||, !, ?:, comparisons, in, [], + - * / of integers, size, contains, startsWith, endsWith,
	// matches with a literal pattern of RE2, int, getHours, getMinutes and getDayOfWeek, in UTC.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	CEL string `json:"cel,omitempty"`
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
