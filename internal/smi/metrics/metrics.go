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

// Group is that of the API, and Versions are those served, the preferred one first. They differ in
// nothing but their name: v1alpha1 of the specification has an edge's side too.
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
}

// Kinds are all of them.
var Kinds = []Kind{
	{"daemonsets", "DaemonSet", true, ofWorkload},
	{"deployments", "Deployment", true, ofWorkload},
	{"jobs", "Job", true, ofWorkload},
	{"namespaces", "Namespace", false, []string{"namespace"}},
	{"pods", "Pod", true, []string{"namespace", "pod"}},
	{"statefulsets", "StatefulSet", true, ofWorkload},
}

var ofWorkload = []string{"namespace", "workload"}

func kindOf(plural string) (Kind, bool) {
	for _, k := range Kinds {
		if k.Name == plural {
			return k, true
		}
	}
	return Kind{}, false
}

// isWorkload tells whether a workload_kind besides the labels tells its series from others'.
func (k Kind) isWorkload() bool { return len(k.labels) > 1 && k.labels[1] == "workload" }

// reference is to the resource that labels name.
func (k Kind) reference(labels map[string]string) corev1.ObjectReference {
	if k.Namespaced {
		return corev1.ObjectReference{Kind: k.Kind, Namespace: labels["namespace"], Name: labels[k.labels[1]]}
	}
	return corev1.ObjectReference{Kind: k.Kind, Name: labels["namespace"]}
}
