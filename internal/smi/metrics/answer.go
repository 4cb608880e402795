package metrics

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	corev1 "k8s.io/api/core/v1"
)

// Sample is one series of an answer of Prometheus.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// World is what the answers of Prometheus are about and it does not know.
type World struct {
	Workloads Workloads // of the other side of edges
	Splits    []Split
}

// Answer is what the answers to Queries mean, in their order, for the window that ends at a time: a
// *TrafficMetrics, or a *TrafficMetricsList. It has every resource that is scraped, those without
// requests too.
func (r Request) Answer(at time.Time, answers [][]Sample, world World) (any, Problem) {
	if r.Kind.Name == splits.Name {
		return r.answerSplits(at, answers, world.Splits)
	}
	all := table{}
	for _, s := range answers[0] {
		if key := (edgeKey{resource: r.Kind.reference(s.Labels)}); !r.Edges {
			all.at(key)
		}
	}
	for i, v := range r.views() {
		for _, s := range answers[1+2*i] {
			if key, named := r.key(v, s.Labels, world.Workloads); named {
				all.at(key).count(s)
			}
		}
		for _, s := range answers[2+2*i] {
			if key, named := r.key(v, s.Labels, world.Workloads); named {
				all.at(key).time(s)
			}
		}
	}
	scraped := len(answers[0]) > 0
	switch {
	case r.Name != "" && !scraped:
		return nil, problem(http.StatusNotFound, "%s %s is not known to Prometheus: it does not exist, none of its pods has a sidecar, or its pods are not scraped", r.Kind.Kind, r.displayName())
	case r.Name != "" && !r.Edges:
		only := edgeKey{resource: r.Resource()}
		return new(r.item(only, all.at(only), at)), Problem{}
	}
	return r.list(all, at), Problem{}
}

func (r Request) displayName() string {
	if r.Namespace == "" {
		return r.Name
	}
	return r.Namespace + "/" + r.Name
}

func (r Request) list(all table, at time.Time) *TrafficMetricsList {
	list := r.emptyList()
	for key, f := range all {
		if r.Edges && f.success+f.failure == 0 {
			continue // nothing went between the two in the window
		}
		list.Items = append(list.Items, r.item(key, f, at))
	}
	slices.SortFunc(list.Items, func(a, b TrafficMetrics) int {
		return cmp.Or(compare(&a.Resource, &b.Resource), cmp.Compare(a.Edge.Direction, b.Edge.Direction), compare(a.Edge.Resource, b.Edge.Resource))
	})
	return list
}

func (r Request) emptyList() *TrafficMetricsList {
	return &TrafficMetricsList{
		TypeMeta: metav1.TypeMeta{APIVersion: Group + "/" + r.Version, Kind: "TrafficMetricsList"},
		Resource: r.Resource(),
		Items:    []TrafficMetrics{},
	}
}

func compare(a, b *corev1.ObjectReference) int {
	if a == nil || b == nil {
		return 0
	}
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
}

func (r Request) item(key edgeKey, f *figures, at time.Time) TrafficMetrics {
	t := TrafficMetrics{
		TypeMeta:   metav1.TypeMeta{APIVersion: Group + "/" + r.Version, Kind: "TrafficMetrics"},
		ObjectMeta: metav1.ObjectMeta{Namespace: key.resource.Namespace, Name: key.resource.Name, CreationTimestamp: metav1.NewTime(at)},
		Timestamp:  metav1.NewTime(at),
		Window:     metav1.Duration{Duration: r.Window},
		Resource:   key.resource,
		Edge:       received.edge,
		Metrics:    f.metrics(),
	}
	if r.Edges {
		t.Edge = Edge{Direction: key.direction, Side: key.side, Resource: new(key.other)}
	}
	return t
}

// edgeKey tells one row from another. Of a resource as a whole it has nothing of an edge.
type edgeKey struct {
	resource  corev1.ObjectReference
	direction Direction
	side      Side
	other     corev1.ObjectReference
}

// key is the row of a series. Who is not known is no edge.
func (r Request) key(v view, labels map[string]string, workloads Workloads) (edgeKey, bool) {
	key := edgeKey{resource: r.Kind.reference(labels)}
	if !r.Edges {
		return key, true
	}
	var known bool
	key.direction, key.side = v.edge.Direction, v.edge.Side
	key.other, known = r.other(v, labels, workloads)
	return key, known
}

// table holds the figures of each row.
type table map[edgeKey]*figures

func (t table) at(key edgeKey) *figures {
	if t[key] == nil {
		t[key] = newFigures()
	}
	return t[key]
}

// figures are the sums of one row.
type figures struct {
	success, failure float64
	buckets          map[float64]float64 // how many took at most so many milliseconds
}

func newFigures() *figures { return &figures{buckets: map[float64]float64{}} }

func (f *figures) count(s Sample) {
	if failed(s.Labels) {
		f.failure += s.Value
	} else {
		f.success += s.Value
	}
}

func (f *figures) time(s Sample) {
	if le, err := strconv.ParseFloat(s.Labels["le"], 64); err == nil {
		f.buckets[le] += s.Value
	}
}

// serverErrors are the statuses of gRPC that say that the server failed, not the call.
var serverErrors = map[string]bool{
	"2": true, "4": true, "12": true, "13": true, "14": true, "15": true, // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS
}

// failed tells whether the server, or a proxy, failed a request. Without an answer the code is 0.
func failed(labels map[string]string) bool {
	code := labels["response_code"]
	return code == "0" || len(code) == 3 && code[0] == '5' || serverErrors[labels["grpc_response_status"]]
}

// metrics are without latencies where none was measured: 0 would be a good one.
func (f *figures) metrics() (all []Metric) {
	for _, p := range []struct {
		name string
		of   float64
	}{{P99, 0.99}, {P90, 0.9}, {P50, 0.5}} {
		if ms, known := quantile(p.of, f.buckets); known {
			all = append(all, Metric{p.name, "ms", *resource.NewMilliQuantity(int64(math.Round(1000*ms)), resource.DecimalSI)})
		}
	}
	return append(all,
		Metric{Name: Success, Value: *resource.NewQuantity(int64(math.Round(f.success)), resource.DecimalSI)},
		Metric{Name: Failure, Value: *resource.NewQuantity(int64(math.Round(f.failure)), resource.DecimalSI)})
}
