package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MeshName is the only name a Mesh may have.
const MeshName = "default"

// Types of the conditions of a Mesh. Reconciling and Stalled follow kstatus: they are present only
// while True.
const (
	ConditionReady                = "Ready"
	ConditionReconciling          = "Reconciling"
	ConditionStalled              = "Stalled"
	ConditionCertManagerAvailable = "CertManagerAvailable"
	ConditionGatewayAPIAvailable  = "GatewayAPIAvailable"
	// ConditionDecisionsHeard is there where proxies tell what they decide.
	ConditionDecisionsHeard = "DecisionsHeard"
)

// Mesh holds the settings of a whole Weft installation and reports its health. There is at most
// one, named "default"; without it, or with an empty spec, every default below applies.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=meshes,scope=Cluster,categories=weft
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Roots",type=string,JSONPath=`.status.identity.phase`
// +kubebuilder:printcolumn:name="Trust Domain",type=string,priority=1,JSONPath=`.spec.trustDomain`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'default'",message="a cluster has one Mesh, and its name is default"
// +kubebuilder:validation:XValidation:rule="(has(self.spec) && has(self.spec.trustDomain) ? self.spec.trustDomain : 'cluster.local') == (has(oldSelf.spec) && has(oldSelf.spec.trustDomain) ? oldSelf.spec.trustDomain : 'cluster.local')",message="cannot change: every identity begins with it. To start a mesh of another trust domain, delete the Mesh and create it anew",fieldPath=".spec.trustDomain"
type Mesh struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what should hold. All of it is optional.
	//
	// +optional
	Spec MeshSpec `json:"spec,omitzero"`

	// status is what does hold, written by the operator.
	//
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status MeshStatus `json:"status,omitzero"`
}

// MeshList is a list of Meshes.
//
// +kubebuilder:object:root=true
type MeshList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Mesh `json:"items"`
}

// MeshSpec is what people write about a Mesh.
type MeshSpec struct {
	// issuerRef names the cert-manager issuer that signs the certificates Weft itself serves: that
	// of its xDS server, which every proxy verifies, and that of its webhook.
	//
	// When unset, Weft makes a certificate authority of its own through cert-manager, in the
	// namespace weft-system. Certificates of Gateway listeners are not affected.
	//
	// +optional
	IssuerRef *IssuerReference `json:"issuerRef,omitempty"`

	// trustDomain is what every workload's SPIFFE ID begins with: spiffe://<trustDomain>/… .
	// cluster.local when unset. It cannot be changed: the names in certificates and in policies would
	// all change at once, and proxies of the old and the new one would refuse each other. To do so all
	// the same, delete the Mesh and create it anew.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`
	TrustDomain string `json:"trustDomain,omitempty"`

	// identity says who signs workloads' certificates, and for how long.
	//
	// +optional
	Identity Identity `json:"identity,omitzero"`

	// gateways holds the defaults of the Envoy proxies that Gateways become. A Gateway can
	// differ through its spec.infrastructure.parametersRef.
	//
	// +optional
	Gateways GatewayDefaults `json:"gateways,omitzero"`

	// sidecars holds the defaults of the Envoy proxies beside pods in the mesh. A pod can differ
	// through its annotations. What is set here holds for new pods: status.sidecars counts those that
	// run with what was set before.
	//
	// +optional
	Sidecars SidecarDefaults `json:"sidecars,omitzero"`

	// telemetry holds the defaults of what proxies log about traffic.
	//
	// +optional
	Telemetry Telemetry `json:"telemetry,omitzero"`

	// decisionLog says which decisions about who may call what proxies tell weft authz of. None when
	// unset.
	//
	// +optional
	DecisionLog DecisionLog `json:"decisionLog,omitzero"`

	// metrics says where the figures of traffic are stored. Unset, SMI's TrafficMetrics have no answer.
	//
	// +optional
	Metrics Metrics `json:"metrics,omitzero"`
}

// IssuerReference names a cert-manager issuer.
//
// +kubebuilder:validation:XValidation:rule="self.group != 'cert-manager.io' || self.kind in ['Issuer', 'ClusterIssuer']",message="cert-manager.io has the kinds Issuer and ClusterIssuer",fieldPath=".kind"
type IssuerReference struct {
	// name of the issuer.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// kind of the issuer: Issuer, which is looked for in weft-system, ClusterIssuer, or a kind of an
	// external issuer's group.
	//
	// +optional
	// +kubebuilder:default=Issuer
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`

	// group of the issuer. Other than cert-manager.io for external issuers.
	//
	// +optional
	// +kubebuilder:default=cert-manager.io
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`
}

// GatewayDefaults are the defaults of Gateway proxies.
type GatewayDefaults struct {
	// replicas is how many Envoy pods serve each Gateway. 2 when unset, so that one can be
	// replaced while the other serves. To let a HorizontalPodAutoscaler decide, remove the field for
	// one Gateway by a parametersRef ConfigMap whose key deployment holds `spec: {replicas: null}`.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`

	// image of Envoy. When unset, the stock image this release of Weft was tested with:
	// envoyproxy/envoy:distroless-v1.40.0. Pulled if not present on the node.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// resources of the Envoy container. When unset: requests of 100m CPU and 128Mi memory, and a
	// limit of 1Gi memory.
	//
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
}

// SidecarDefaults are the defaults of the proxies beside pods.
type SidecarDefaults struct {
	// image of Envoy. When unset, the stock image this release of Weft was tested with:
	// envoyproxy/envoy:distroless-v1.40.0. Pulled if not present on the node.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// resources of the proxy. When unset: requests of 50m CPU and 128Mi memory, and a limit of 512Mi
	// memory.
	//
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// concurrency is the number of the proxy's worker threads. 2 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	Concurrency *int32 `json:"concurrency,omitempty"`
}

// MeshStatus is what the operator reports.
type MeshStatus struct {
	// observedGeneration is the metadata.generation that this status speaks of.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions:
	// Ready is True when Weft serves and everything it needs is there.
	// Reconciling is present while a change is under way.
	// Stalled is present while only a change by someone can help; its message says which.
	// CertManagerAvailable and GatewayAPIAvailable tell whether the kinds of cert-manager and of the
	// Gateway API are installed.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// proxies sums up the proxies that are connected to the operator.
	//
	// +optional
	Proxies *ProxySummary `json:"proxies,omitempty"`

	// sidecars sums up the pods that have a proxy beside them.
	//
	// +optional
	Sidecars *SidecarSummary `json:"sidecars,omitempty"`

	// identity tells of workloads' certificates and of the roots that proxies trust.
	//
	// +optional
	Identity *IdentityStatus `json:"identity,omitempty"`
}

// SidecarSummary counts pods in the mesh and names those whose proxy is not what a new pod's is.
type SidecarSummary struct {
	// injected is the number of pods that have a proxy.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Injected int32 `json:"injected"`

	// outdated is the number of those whose proxy was made by another release of Weft, or with other
	// defaults of this Mesh. They work; a restart of the pod brings the new one.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Outdated int32 `json:"outdated"`

	// outdatedPods are the first 32 of them, as namespace and name separated by a slash.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=512
	OutdatedPods []string `json:"outdatedPods,omitempty"`
}

// ProxySummary counts proxies and names what they refused.
type ProxySummary struct {
	// connected is the number of proxies that hold an xDS stream now.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Connected int32 `json:"connected"`

	// refused lists configuration that a proxy refused and has not accepted since. At most 32 are
	// listed; each refusing proxy goes on serving the last version that it accepted.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Refused []Refusal `json:"refused,omitempty"`
}

// Refusal is one resource that one proxy refused.
type Refusal struct {
	// proxy is the namespace and name of the pod, separated by a slash.
	//
	// +required
	// +kubebuilder:validation:MaxLength=512
	Proxy string `json:"proxy"`

	// resource is the xDS type and name of what was refused, such as "route gateway/shop/web/80".
	//
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Resource string `json:"resource"`

	// message is Envoy's own reason.
	//
	// +required
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message"`
}
