package metrics

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	corev1 "k8s.io/api/core/v1"

	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/internal/prometheustest"
)

var update = flag.Bool("update", false, "rewrite what the answers must be")

// at is when the samples of testdata end.
var at = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// shorthands are written in testdata for labels.
var shorthands = strings.NewReplacer(
	"$CART-a", cart("a"), "$CART-b", cart("b"), "$CART-c", cart("c"), "$CART-d", cart("d"),
	"$WEB", `namespace="shop",pod="web-x",workload="web",workload_kind="Deployment"`,
	"$FRONT", `namespace="edge",pod="front-weft-x",workload="front-weft",workload_kind="Deployment"`,
	"$FROMWEB", `source_principal="spiffe://cluster.local/ns/shop/sa/web",source_workload="web",source_workload_namespace="shop"`,
	"$IN", `reporter="destination"`, "$OUT", `reporter="source"`)

func cart(pod string) string {
	return `namespace="shop",workload="cart",workload_kind="Deployment",pod="cart-` + pod + `"`
}

// openMetrics is a file of samples as promtool reads it.
func openMetrics(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] == "#" {
			continue
		}
		series := shorthands.Replace(fields[0])
		from, err := strconv.Atoi(fields[1])
		if err != nil {
			t.Fatal(err)
		}
		for i, value := range fields[2:] {
			lines = append(lines, fmt.Sprintf("%s %s %d", series, value, at.Unix()+int64(from+15*i)))
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		return strings.Compare(a[:strings.IndexByte(a, '{')], b[:strings.IndexByte(b, '{')])
	})
	return strings.Join(lines, "\n") + "\n# EOF\n"
}

// ask has Prometheus answer a query.
func ask(t *testing.T, prometheus, query string) (samples []Sample) {
	t.Helper()
	response, err := http.Get(prometheus + "/api/v1/query?" + url.Values{"query": {query}, "time": {fmt.Sprint(at.Unix())}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Error != "" {
		t.Fatalf("query %s: %v %s", query, err, answer.Error)
	}
	for _, r := range answer.Data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		samples = append(samples, Sample{r.Metric, value})
	}
	return samples
}

// shopPods are behind the names in testdata: of the ServiceAccount web one Deployment, of cart two workloads.
var shopPods = []*corev1.Pod{
	podOf("web-1", "web", "ReplicaSet", "web-5d"),
	podOf("web-2", "web", "ReplicaSet", "web-77"),
	podOf("cart-a", "cart", "ReplicaSet", "cart-7d"),
	podOf("cart-0", "cart", "StatefulSet", "cart"),
}

// canary is of the Service cart, whose callers know nothing of it.
var canary = &split.TrafficSplit{
	ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "canary"},
	Spec:       split.TrafficSplitSpec{Service: "cart", Backends: []split.TrafficSplitBackend{{Service: "cart-v1", Weight: 90}, {Service: "cart-v2.shop", Weight: 10}, {Service: "cart-v3"}}},
}

func podOf(name, account, kind, owner string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.PodSpec{ServiceAccountName: account}}
	if kind != "" {
		pod.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: owner, Controller: new(true)}}
	}
	return pod
}

// TestAnswers has a real Prometheus answer what paths ask. The file says in words what was stored, and
// each answer is what that is, to the request.
func TestAnswers(t *testing.T) {
	prometheus := prometheustest.Stored(t, openMetrics(t, "testdata/shop.samples"))
	const golden = "testdata/answers.txtar"
	archive, err := txtar.ParseFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range archive.Files {
		got := answer(t, prometheus, f.Name)
		if got != string(f.Data) && !*update {
			t.Errorf("%s is\n%s, want\n%s", f.Name, got, f.Data)
		}
		archive.Files[i].Data = []byte(got)
	}
	if *update {
		if err := os.WriteFile(golden, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if samples := ask(t, prometheus, Anybody); len(samples) != 1 {
		t.Errorf("somebody is scraped: %v", samples)
	}
}

// answer is one line for each item: whose, with whom, and the figures.
func answer(t *testing.T, prometheus, path string) string {
	t.Helper()
	path, parameters, _ := strings.Cut(path, "?")
	query, err := url.ParseQuery(parameters)
	if err != nil {
		t.Fatal(err)
	}
	r, problem := Parse(path, query)
	if problem != (Problem{}) {
		t.Fatal(problem)
	}
	var answers [][]Sample
	for _, q := range r.Queries() {
		answers = append(answers, ask(t, prometheus, q))
	}
	body, problem := r.Answer(at, answers, World{WorkloadsOf(shopPods), []Split{SplitOf(canary)}})
	if problem != (Problem{}) {
		return fmt.Sprintf("%d %s\n", problem.Code, problem.Message)
	}
	if list, is := body.(*TrafficMetricsList); is {
		text := fmt.Sprintf("list of %s, %d items\n", show(list.Resource), len(list.Items))
		for _, item := range list.Items {
			text += line(item)
		}
		return text
	}
	return line(*body.(*TrafficMetrics))
}

func line(t TrafficMetrics) string {
	text := show(t.Resource) + " " + string(t.Edge.Direction) + " anybody"
	if t.Edge.Resource != nil {
		text = show(t.Resource) + " " + string(t.Edge.Direction) + " " + show(*t.Edge.Resource)
	}
	if b := t.Backend; b != nil {
		text += fmt.Sprintf(", %s split to %s of weight %d", b.Apex, b.Name, b.Weight)
	}
	text += ", at the " + string(t.Edge.Side) + ", " + t.Window.Duration.String() + ":"
	for _, m := range t.Metrics {
		name, _, _ := strings.Cut(m.Name, "_")
		text += " " + name + "=" + m.Value.String() + m.Unit
	}
	return text + "\n"
}

func show(r corev1.ObjectReference) string {
	return strings.TrimSuffix(strings.ReplaceAll(r.Kind+" "+r.Namespace+"/"+r.Name, " /", " "), "/")
}

// TestQuantile compares with Prometheus's own.
func TestQuantile(t *testing.T) {
	prometheus := prometheustest.Stored(t, openMetrics(t, "testdata/shop.samples"))
	buckets := map[float64]float64{}
	for _, s := range ask(t, prometheus, "sum by (le) ("+durations+")") {
		le, err := strconv.ParseFloat(s.Labels["le"], 64)
		if err != nil {
			t.Fatal(err)
		}
		buckets[le] = s.Value
	}
	for _, q := range []float64{0.01, 0.5, 0.6, 0.9, 0.99, 0.999} {
		want := ask(t, prometheus, fmt.Sprintf("histogram_quantile(%v, sum by (le) (%s))", q, durations))[0].Value
		if got, known := quantile(q, buckets); !known || got-want > 1e-9 || want-got > 1e-9 {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
}
