package v1alpha1

// Locality has a proxy send to the pods of a Service that are near to it, and where these are missing to
// others. Where a proxy or a pod is, the labels of its Node say.
//
// What is missing counts in both directions: while a place has some of its pods ready, and not all, it keeps
// a part of what is sent from near it. With at least 5 of 7 ready it keeps all, with fewer 1.4 times the part
// that is ready: with half of them 70 %. The rest goes to the next nearest pods, and comes back as the pods
// do. Pods that a proxy leaves out by outlierDetection or healthCheck count in the same way, for this proxy.
//
// It takes no more than readiness, which Kubernetes tells within a second of a pod's own probe. With
// outlierDetection a proxy need not wait for that.
//
// A proxy whose Node has none of the labels, or is not known, sends to all pods alike.
//
// +kubebuilder:validation:XValidation:rule="!has(self.weights) || !has(self.prefer) && !has(self.minEndpoints)",message="weights say how much goes to each region, prefer and minEndpoints how near pods are preferred: set the one or the others",fieldPath=".weights"
type Locality struct {
	// prefer are labels of Nodes, the nearest first. The pods that have the same value of the first label as
	// the caller are sent to; after them those that have the same of the second, and so on; at last all
	// others. [topology.kubernetes.io/zone, topology.kubernetes.io/region] when unset.
	//
	// A label that has another value on each Node, as kubernetes.io/hostname, makes each Node a place of
	// its own, for which the operator keeps endpoints apart: write it about few Services.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MaxLength=317
	// +kubebuilder:validation:items:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="self.all(l, self.exists_one(m, m == l))",message="each label counts once"
	// +kubebuilder:validation:XValidation:rule="!('topology.kubernetes.io/region' in self) || self.indexOf('topology.kubernetes.io/zone') <= self.indexOf('topology.kubernetes.io/region')",message="a zone is within a region: after topology.kubernetes.io/region it says nothing more"
	// +kubebuilder:validation:XValidation:rule="self.indexOf('kubernetes.io/hostname') <= 0",message="a Node is the nearest: kubernetes.io/hostname is the first or says nothing more"
	Prefer []string `json:"prefer,omitempty"`

	// minEndpoints is how many ready pods must be as near to be preferred: fewer are sent to together with
	// the next nearest, each pod as much as another, so that one pod alone in its zone is not left with all
	// that its zone sends. 1 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MinEndpoints *int32 `json:"minEndpoints,omitempty"`

	// weights share out what is sent from a region among regions, by the label topology.kubernetes.io/region.
	// Callers in a region that is none of these send as though there were no weights.
	//
	// +optional
	// +listType=map
	// +listMapKey=from
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Weights []RegionWeights `json:"weights,omitempty"`
}

// RegionWeights share out what is sent from one region.
type RegionWeights struct {
	// from is the region of those who send.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	From string `json:"from"`

	// to are the regions that get something. While the pods of one are missing, the others get its part. A
	// region that is none of these, or has 0 percent, gets something only while none of these has a pod.
	//
	// +listType=map
	// +listMapKey=region
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.map(t, t.percent).sum() == 100",message="the percentages of all regions come to 100 together"
	To []RegionWeight `json:"to"`
}

// RegionWeight is what one region gets.
type RegionWeight struct {
	// region is the value of the label topology.kubernetes.io/region.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Region string `json:"region"`

	// percent is its part, whatever number of pods it has.
	//
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent"`
}
