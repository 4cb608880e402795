package envoy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
)

const scrapeFile = "../../config/prometheus/scrape.yaml"

// prometheus is a real one.
type prometheus struct {
	t   *testing.T
	url string
}

// startPrometheus runs it with the jobs that we ship, whose pods are given: where each is scraped, and
// the labels that discovery in a cluster would give it.
func startPrometheus(t *testing.T, pods map[string]map[string]string) prometheus {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("no prometheus on this machine (Debian: apt-get install prometheus)")
	}
	folder := t.TempDir()
	config := filepath.Join(folder, "prometheus.yml")
	if err := os.WriteFile(config, shippedJobs(t, pods), 0o600); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", porttest.Free(t, 1)[0])
	out := &log{}
	command := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+folder, "--web.listen-address="+at)
	command.Stdout, command.Stderr = out, out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill() // what it wrote goes with the folder
		_ = command.Wait()
		if t.Failed() {
			t.Logf("Prometheus wrote:\n%s", out)
		}
	})
	p := prometheus{t, "http://" + at}
	eventually(t, "Prometheus is ready", func() bool { return status(p.url+"/-/ready") == 200 })
	return p
}

func shippedJobs(t *testing.T, pods map[string]map[string]string) []byte {
	t.Helper()
	text, err := os.ReadFile(scrapeFile)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	config["global"] = map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s"}
	var static []any
	for address, labels := range pods {
		static = append(static, map[string]any{"targets": []string{address}, "labels": labels})
	}
	for _, job := range config["scrape_configs"].([]any) {
		job := job.(map[string]any)
		delete(job, "kubernetes_sd_configs")
		job["static_configs"] = static
	}
	body, err := json.Marshal(config) // which is YAML
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// sampled is one series and its value.
type sampled struct {
	labels map[string]string
	value  float64
}

func (p prometheus) query(q string) []sampled {
	p.t.Helper()
	response, err := client.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(q))
	if err != nil {
		p.t.Fatal(err)
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
		p.t.Fatalf("query %s: %v %s", q, err, answer.Error)
	}
	var all []sampled
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, sampled{r.Metric, v})
	}
	return all
}

// pod is what discovery says of a container's port in a pod of a Deployment.
func pod(namespace, deployment, port string) map[string]string {
	return map[string]string{
		"__meta_kubernetes_namespace":               namespace,
		"__meta_kubernetes_pod_name":                deployment + "-7d9f8c6b5-x2x4z",
		"__meta_kubernetes_pod_phase":               "Running",
		"__meta_kubernetes_pod_container_port_name": port,
		"__meta_kubernetes_pod_controller_kind":     "ReplicaSet",
		"__meta_kubernetes_pod_controller_name":     deployment + "-7d9f8c6b5",
	}
}

// The jobs that we ship give the series by three sets of names, and the queries that Flagger and
// dashboards for Istio make find them.
func TestScrapeConfiguration(t *testing.T) {
	h := startHop(t, signals(), serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})[0], greeter(t))
	p := startPrometheus(t, map[string]map[string]string{
		h.caller.AdminAddress(): pod("shop", "web-ui", "weft-stats"),
		h.app.AdminAddress():    pod("stock", "stock", "weft-stats"),
		address(closedPort(t)):  pod("stock", "stock", "http"),
	})
	echoed(t, h)
	found := func(what, q string, holds func([]sampled) bool) {
		t.Helper()
		eventually(t, what, func() bool {
			post(t, h, "/")
			post(t, h, "/broken")
			return holds(p.query(q))
		})
	}
	share := func(all []sampled) bool { return len(all) == 1 && all[0].value > 30 && all[0].value < 70 }
	seconds := func(all []sampled) bool { return len(all) == 1 && all[0].value > 0 && all[0].value < 10 }

	const pods = `kubernetes_namespace="stock",kubernetes_pod_name=~"stock-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"`
	found("Flagger's success rate", fmt.Sprintf(`sum(rate(http_request_duration_seconds_count{%s,status!~"5.*"}[1m])) / sum(rate(http_request_duration_seconds_count{%[1]s}[1m])) * 100`, pods), share)
	found("Flagger's duration", fmt.Sprintf(`histogram_quantile(0.99, sum(rate(http_request_duration_seconds_bucket{%s}[1m])) by (le))`, pods), seconds)
	const workload = `reporter="destination",destination_workload_namespace="stock",destination_workload=~"stock"`
	found("the success rate by Istio's names", fmt.Sprintf(`sum(rate(istio_requests_total{%s,response_code!~"5.*"}[1m])) / sum(rate(istio_requests_total{%[1]s}[1m])) * 100`, workload), share)
	found("the duration by Istio's names", fmt.Sprintf(`histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{%s}[1m])) by (le)) / 1000`, workload), seconds)
	found("the success rate by a MetricTemplate", metricTemplate(t, "weft-success-rate"), share)
	found("the duration by a MetricTemplate", metricTemplate(t, "weft-duration")+" / 1000", seconds)
	found("bytes of TCP", `sum(istio_tcp_sent_bytes_total{request_protocol="tcp"})`, func(all []sampled) bool { return len(all) == 1 && all[0].value == 30 })

	identities(found)
	atLeastOne := func(all []sampled) bool { return len(all) > 0 }
	found("the Service called", `weft_requests_total{reporter="source",destination_service_name="stock",destination_port="80"}`, atLeastOne)
	found("the Service that it went to", `istio_requests_total{reporter="source",destination_service="stock-canary.stock.svc.cluster.local"}`, atLeastOne)
	buckets(t, p)
	for _, s := range p.query(`up`) {
		if s.value != 1 {
			t.Errorf("scraped without success: %v", s.labels)
		}
	}
	if n := len(p.query(`up`)); n != 6 {
		t.Errorf("%d targets, want 2 of each of 3 jobs", n)
	}
}

// identities asserts who is on each side: a proxy knows what it belongs to, and of the other only the
// ServiceAccount.
func identities(found func(what, q string, holds func([]sampled) bool)) {
	for name, labels := range map[string]map[string]string{
		"weft_requests_total":  {"response_class": "5xx", "response_code": "500"},
		"istio_requests_total": {"request_protocol": "http", "connection_security_policy": "mutual_tls", "response_code": "500"},
	} {
		maps.Copy(labels, map[string]string{"source_principal": callerID, "destination_principal": appID, "source_workload_namespace": "shop", "destination_workload_namespace": "stock"})
		for reporter, workloads := range map[string][2]string{"source": {"web-ui", "stock"}, "destination": {"web", "stock"}} {
			labels["reporter"], labels["source_workload"], labels["destination_workload"] = reporter, workloads[0], workloads[1]
			q := name + "{"
			for _, l := range slices.Sorted(maps.Keys(labels)) {
				q += fmt.Sprintf("%s=%q,", l, labels[l])
			}
			found(reporter, q+"}", func(all []sampled) bool { return len(all) == 1 })
		}
	}
}

// metricTemplate is the query of one that we ship, as Flagger makes it.
func metricTemplate(t *testing.T, name string) string {
	t.Helper()
	for _, object := range objects(t, "../../config/prometheus/flagger.yaml") {
		if object["metadata"].(map[string]any)["name"] == name {
			query := object["spec"].(map[string]any)["query"].(string)
			return strings.NewReplacer("{{ namespace }}", "stock", "{{ service }}", "stock", "{{ interval }}", "1m").Replace(query)
		}
	}
	t.Fatalf("no MetricTemplate %s", name)
	return ""
}

func objects(t *testing.T, file string) (all []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		object := map[string]any{}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, object)
	}
	return all
}

// The PodMonitors say the same as the jobs.
func TestPodMonitors(t *testing.T) {
	jobs := map[string]map[string]any{} // by their params, which differ
	for _, job := range objects(t, scrapeFile)[0]["scrape_configs"].([]any) {
		job := job.(map[string]any)
		jobs[fmt.Sprint(job["params"])] = job
	}
	monitors := objects(t, "../../config/prometheus/proxies.yaml")
	for _, m := range monitors {
		endpoints := m["spec"].(map[string]any)["podMetricsEndpoints"].([]any)
		if len(endpoints) < 2 {
			t.Errorf("%d endpoints", len(endpoints))
		}
		for _, e := range endpoints {
			e := e.(map[string]any)
			job := jobs[fmt.Sprint(e["params"])]
			if got, want := fmt.Sprint(e["metricRelabelings"]), camel(job["metric_relabel_configs"].([]any)); got != want {
				t.Errorf("%v: metricRelabelings %s, want %s", e["params"], got, want)
			}
			if got, want := fmt.Sprint(e["relabelings"]), camel(job["relabel_configs"].([]any)[4:]); got != want {
				t.Errorf("%v: relabelings %s, want %s", e["params"], got, want)
			}
		}
	}
	if len(jobs) != 3 || len(monitors) != 2 {
		t.Errorf("%d jobs, %d PodMonitors", len(jobs), len(monitors))
	}
}

// camel spells the fields of Prometheus as its operator does. The first four rules, which pods and
// their names, are the operator's own.
func camel(rules []any) string {
	return strings.NewReplacer("source_labels", "sourceLabels", "target_label:", "targetLabel:").Replace(fmt.Sprint(rules))
}

// buckets asserts that each of Envoy's, in milliseconds, has become one in seconds.
func buckets(t *testing.T, p prometheus) {
	t.Helper()
	var want, got []float64
	for _, ms := range envoy.StatsConfig(true).HistogramBucketSettings[0].Buckets {
		want = append(want, ms/1000)
	}
	for _, s := range p.query(`count by (le) (http_request_duration_seconds_bucket{le!="+Inf"})`) {
		le, err := strconv.ParseFloat(s.labels["le"], 64)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, le)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("buckets in seconds: %v, want %v", got, want)
	}
}

func address(e mesh.Endpoint) string { return fmt.Sprintf("%s:%d", e.Address, e.Port) }
