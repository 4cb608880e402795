package envoy_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/internal/smi/metrics"
)

// What two real proxies count, and a real Prometheus stores, comes to TrafficMetrics to the request.
func TestTrafficMetrics(t *testing.T) {
	h := startHop(t, signals(), serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})[0], greeter(t))
	p := startPrometheus(t, map[string]map[string]string{
		h.caller.AdminAddress(): pod("shop", "web-ui", "weft-stats"),
		h.app.AdminAddress():    pod("stock", "stock", "weft-stats"),
	})
	eventually(t, "both are scraped", func() bool { return len(p.query(`envoy_server_live{workload_kind="Deployment"}`)) == 2 })
	const succeeded, failed = 20, 5
	for range succeeded {
		post(t, h, "/")
	}
	for range failed {
		post(t, h, "/broken")
	}
	for path, other := range map[string]string{
		"namespaces/stock/deployments/stock":       "",
		"namespaces/stock/deployments/stock/edges": "Deployment shop/web-ui",
		"namespaces/shop/deployments/web-ui/edges": "ServiceAccount stock/stock",
		"namespaces/shop/edges":                    "Namespace /stock",
	} {
		var last string
		eventually(t, path, func() bool {
			var held bool
			last, held = p.measured(t, path, other, succeeded, failed)
			return held
		})
		t.Logf("%s: %s", path, last)
	}
}

// measured tells whether what a path is answered has one row, of that other side, with those counts, and
// latencies in order.
func (p prometheus) measured(t *testing.T, path, other string, success, failure int64) (string, bool) {
	t.Helper()
	r, problem := metrics.Parse("v1alpha1/"+path, url.Values{"t": {"1m"}})
	if problem != (metrics.Problem{}) {
		t.Fatal(problem)
	}
	var answers [][]metrics.Sample
	for _, q := range r.Queries() {
		var samples []metrics.Sample
		for _, s := range p.query(q) {
			samples = append(samples, metrics.Sample{Labels: s.labels, Value: s.value})
		}
		answers = append(answers, samples)
	}
	caller := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-ui-1", OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web-ui-1", Controller: new(true)}}},
		Spec:       corev1.PodSpec{ServiceAccountName: "web"},
	}
	body, problem := r.Answer(time.Now(), answers, metrics.World{Workloads: metrics.WorkloadsOf([]*corev1.Pod{caller})})
	if problem != (metrics.Problem{}) {
		return problem.Message, false
	}
	only, is := body.(*metrics.TrafficMetrics)
	if list, several := body.(*metrics.TrafficMetricsList); several && len(list.Items) == 1 {
		only, is = &list.Items[0], true
	}
	if !is {
		return "", false
	}
	named := ""
	if o := only.Edge.Resource; o != nil {
		named = o.Kind + " " + o.Namespace + "/" + o.Name
	}
	figures, text := map[string]float64{}, named
	for _, m := range only.Metrics {
		figures[m.Name] = m.Value.AsApproximateFloat64()
		text += " " + m.Name + "=" + m.Value.String()
	}
	latencies := []float64{figures[metrics.P50], figures[metrics.P90], figures[metrics.P99]}
	held := named == other && figures[metrics.Success] == float64(success) && figures[metrics.Failure] == float64(failure) &&
		len(only.Metrics) == 5 && latencies[0] > 0 && slices.IsSorted(latencies)
	return text, held
}
