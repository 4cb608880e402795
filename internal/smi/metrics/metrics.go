// Package metrics answers SMI's TrafficMetrics from the golden signals.
//
//	path → Request → Queries in PromQL → samples → TrafficMetrics
//
// Who asks Prometheus, and whether one may, is not its concern.
package metrics

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	corev1 "k8s.io/api/core/v1"
)

// Group is that of the API, and Versions are those served, the preferred one first. v1alpha2 has
// TrafficSplits besides; an edge's side is in the specification of both.
const Group = "metrics.smi-spec.io"

var Versions = []string{"v1alpha1", "v1alpha2"}

// TrafficMetrics are the figures of one resource, or of one of its edges.
type TrafficMetrics struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Timestamp metav1.Time            `json:"timestamp"` // the end of the window
	Window    metav1.Duration        `json:"window"`
	Resource  corev1.ObjectReference `json:"resource"`
	Edge      Edge                   `json:"edge"`
	Backend   *Backend               `json:"backend,omitempty"` // of a TrafficSplit
	Metrics   []Metric               `json:"metrics"`
}

// TrafficMetricsList are the figures of all resources of a kind, or of all edges of one resource.
type TrafficMetricsList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Resource corev1.ObjectReference `json:"resource"`
	Items    []TrafficMetrics       `json:"items"`
}

// Edge is where requests came from, or went to. Without a Resource it is anybody.
type Edge struct {
	Direction Direction               `json:"direction"`
	Side      Side                    `json:"side"`
	Resource  *corev1.ObjectReference `json:"resource"`
}

// Direction is that of the requests, as the resource sees them.
type Direction string

// Side is where the requests were counted.
type Side string

const (
	To     Direction = "to"
	From   Direction = "from"
	Client Side      = "client"
	Server Side      = "server"
)

// Metric is one figure: a count, or a latency in milliseconds.
type Metric struct {
	Name  string            `json:"name"`
	Unit  string            `json:"unit,omitempty"`
	Value resource.Quantity `json:"value"`
}

// Names of Metrics.
const (
	P99     = "p99_response_latency"
	P90     = "p90_response_latency"
	P50     = "p50_response_latency"
	Success = "success_count"
	Failure = "failure_count"
)

// Kind is one kind of resource that has TrafficMetrics.
type Kind struct {
	Name       string // plural, as in a path
	Kind       string
	Namespaced bool
	labels     []string // of a series, which together name a resource of this kind
	since      string   // the version that has it; empty: all have
}

// Kinds are all of them.
var Kinds = []Kind{
	{Name: "daemonsets", Kind: "DaemonSet", Namespaced: true, labels: ofWorkload},
	{Name: "deployments", Kind: "Deployment", Namespaced: true, labels: ofWorkload},
	{Name: "jobs", Kind: "Job", Namespaced: true, labels: ofWorkload},
	{Name: "namespaces", Kind: "Namespace", labels: []string{"namespace"}},
	{Name: "pods", Kind: "Pod", Namespaced: true, labels: []string{"namespace", "pod"}},
	{Name: "statefulsets", Kind: "StatefulSet", Namespaced: true, labels: ofWorkload},
	splits,
}

var ofWorkload = []string{"namespace", "workload"}

// kindsOf are those of a version.
func kindsOf(version string) (all []Kind) {
	for _, k := range Kinds {
		if k.since == "" || k.since == version {
			all = append(all, k)
		}
	}
	return all
}

func kindOf(version, plural string) (Kind, bool) {
	for _, k := range kindsOf(version) {
		if k.Name == plural {
			return k, true
		}
	}
	return Kind{}, false
}

// hasEdges tells whether edges of its resources can be asked for.
func (k Kind) hasEdges() bool { return len(k.labels) > 0 }

// isWorkload tells whether a workload_kind besides the labels tells its series from others'.
func (k Kind) isWorkload() bool { return len(k.labels) > 1 && k.labels[1] == "workload" }

// reference is to the resource that labels name.
func (k Kind) reference(labels map[string]string) corev1.ObjectReference {
	if k.Namespaced {
		return corev1.ObjectReference{Kind: k.Kind, Namespace: labels["namespace"], Name: labels[k.labels[1]]}
	}
	return corev1.ObjectReference{Kind: k.Kind, Name: labels["namespace"]}
}
