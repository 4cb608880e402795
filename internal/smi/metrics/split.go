package metrics

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/internal/smi"
)

// splits have, for each backend, what callers in the mesh sent to the apex and what went to that backend.
// They have no edges.
var splits = Kind{Name: "trafficsplits", Kind: "TrafficSplit", Namespaced: true, since: "v1alpha2"}

// Backend is the part of a TrafficSplit that figures are of.
type Backend struct {
	Apex   string `json:"apex"`
	Name   string `json:"name"`
	Weight int    `json:"weight"`
}

// Split is a TrafficSplit.
type Split struct {
	Namespace, Name string
	Backends        []Backend
}

// SplitOf is what figures need of one.
func SplitOf(s *split.TrafficSplit) Split {
	out := Split{Namespace: s.Namespace, Name: s.Name}
	apex, _ := smi.ServiceName(s.Spec.Service, s.Namespace)
	for _, b := range smi.Backends(s) {
		name, _ := smi.ServiceName(b.Service, s.Namespace)
		out.Backends = append(out.Backends, Backend{apex, name, int(b.Weight)})
	}
	return out
}

// splitQueries are about all Services of the namespace: an answer is small, and which is an apex now need
// not be known.
func (r Request) splitQueries() []string {
	matchers := `{reporter="source",destination_service_name!=""}`
	if r.Namespace != "" {
		matchers = `{reporter="source",destination_service_namespace="` + r.Namespace + `"}`
	}
	names := []string{"destination_service_namespace", "destination_service_name", "upstream_cluster"}
	return []string{
		Anybody,
		sumBy(append(names, "response_code", "grpc_response_status"), r.counted(requests+matchers, anyProxy)),
		sumBy(append(names, "le"), r.counted(durations+matchers, anyProxy)),
	}
}

// apexBackend is a Service that was called, and one that requests for it went to.
type apexBackend struct{ namespace, apex, backend string }

func wentTo(labels map[string]string) apexBackend {
	to := apexBackend{namespace: labels["destination_service_namespace"], apex: labels["destination_service_name"]}
	if parts := strings.Split(labels["upstream_cluster"], "/"); len(parts) > 2 && parts[0] == "service" && parts[1] == to.namespace {
		to.backend = parts[2]
	}
	return to
}

// answerSplits is a list in any case: a split has several backends.
func (r Request) answerSplits(at time.Time, answers [][]Sample, all []Split) (any, Problem) {
	sums := map[apexBackend]*figures{}
	sum := func(labels map[string]string) *figures {
		to := wentTo(labels)
		if sums[to] == nil {
			sums[to] = newFigures()
		}
		return sums[to]
	}
	for _, s := range answers[1] {
		sum(s.Labels).count(s)
	}
	for _, s := range answers[2] {
		sum(s.Labels).time(s)
	}
	list, found := r.emptyList(), false
	for _, s := range all {
		if r.Namespace != "" && s.Namespace != r.Namespace || r.Name != "" && s.Name != r.Name {
			continue
		}
		found = true
		for _, b := range s.Backends {
			f := cmp.Or(sums[apexBackend{s.Namespace, b.Apex, b.Name}], newFigures())
			item := r.item(edgeKey{resource: corev1.ObjectReference{Kind: splits.Kind, Namespace: s.Namespace, Name: s.Name}}, f, at)
			item.Edge, item.Backend = Edge{Direction: From, Side: Client}, new(b)
			list.Items = append(list.Items, item)
		}
	}
	if r.Name != "" && !found {
		return nil, problem(http.StatusNotFound, "TrafficSplit %s does not exist", r.displayName())
	}
	slices.SortStableFunc(list.Items, func(a, b TrafficMetrics) int { return compare(&a.Resource, &b.Resource) })
	return list, Problem{}
}
