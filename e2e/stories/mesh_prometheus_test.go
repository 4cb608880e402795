package stories

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// question is a query, and what its answer must be like.
type question struct {
	query string
	holds func([]stage.Sample) bool
}

func some(all []stage.Sample) bool { return len(all) > 0 }

// within wants one number between two, neither of which it may be.
func within(low, high float64) func([]stage.Sample) bool {
	return func(all []stage.Sample) bool { return len(all) == 1 && all[0].Value > low && all[0].Value < high }
}

// TestPrometheus has one run in the cluster with the configuration that we ship, as it is, and no
// rights but those that we ship. It finds sidecars and a Gateway's proxies by itself, and answers what
// the documentation, Flagger and dashboards for Istio ask.
func TestPrometheus(t *testing.T) {
	monitoring := stage.New(t, "monitoring")
	monitoring.OnThisMachine()
	deployPrometheus(t, monitoring, shipped(t, monitoring, "scrape.yaml")) // finds the others' pods as they come
	o := newObserved(t, "prometheus")
	o.Apply(`{apiVersion: v1, kind: Service, metadata: {name: echo-canary}, spec: {selector: {app: echo}, ports: [{name: a, port: 80, targetPort: 8080, appProtocol: http}]}}`)
	o.caller.Answered(call.Request{Protocol: call.HTTP, Address: "echo-canary:80"}, bySidecar)
	at, questions := monitoring.Prometheus(), o.questions()
	took := o.Until(2*time.Minute, "Prometheus answers", func(ctx context.Context) error {
		o.talk()
		missing := o.targets(ctx, at)
		for what, q := range questions {
			all, err := stage.Ask(ctx, at, q.query)
			if err == nil && !q.holds(all) {
				err = fmt.Errorf("%s: %s\n  is %v", what, q.query, all)
			}
			missing = errors.Join(missing, err)
		}
		return missing
	})
	o.Step("%d questions are answered after %s", len(questions), took)
	all, err := stage.Ask(t.Context(), at, fmt.Sprintf(`weft_tcp_connections_opened_total{reporter="destination",tls_version="",namespace=%q}`, o.Namespace))
	if err != nil || some(all) {
		t.Errorf("plaintext is said to have reached the pods: %v %v", all, err)
	}
}

// deployPrometheus has one with a configuration, and does not wait for it. What it makes for the whole cluster goes with the test.
func deployPrometheus(t *testing.T, s *stage.Scene, scrape string) {
	t.Helper()
	if err := s.LoadPrometheus(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := shipped(t, s, "rbac.yaml") + "\n---\n" + manifest(t, "mesh/prometheus.yaml", "$NAMESPACE", s.Namespace, "$PROMETHEUS_IMAGE", stage.PrometheusImage)
	t.Cleanup(func() {
		if err := s.Stage.Remove(context.Background(), s.Namespace, text); err != nil {
			t.Error(err)
		}
	})
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "prometheus"},
		Data: map[string]string{"scrape.yaml": scrape}}
	if err := s.Create(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	s.Apply(text)
}

// shipped is a file of config/prometheus.
func shipped(t *testing.T, s *stage.Scene, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Root, "config", "prometheus", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// talk sends some of everything: HTTP, of which a part fails, gRPC and TCP, and HTTP through the Gateway.
func (o *observed) talk() {
	o.t.Helper()
	o.calls(5, call.Request{Protocol: call.HTTP, Address: "echo:80"})
	o.calls(2, call.Request{Protocol: call.HTTP, Address: "echo:80", Path: "/via/nobody"}) // 503, says the application
	o.calls(1, call.Request{Protocol: call.HTTP, Address: "echo-canary:80"})
	o.calls(1, call.Request{Protocol: call.GRPC, Address: "echo:90", Text: "hello"})
	o.calls(1, call.Request{Protocol: call.TCP, Address: "echo:9000", Text: "hello"})
	call.Do(o.t.Context(), o.throughGateway("/"))
}

// targets wants each job to scrape each proxy, and nothing else of the namespace, with success.
func (o *observed) targets(ctx context.Context, prometheus string) error {
	all, err := stage.Ask(ctx, prometheus, fmt.Sprintf("up{namespace=%q}", o.Namespace))
	if err != nil {
		return err
	}
	var want, got []string
	for _, pod := range o.proxies() {
		for _, job := range []string{"weft", "weft-flagger", "weft-istio"} {
			want = append(want, job+" "+pod.Name)
		}
	}
	for _, s := range all {
		if s.Value != 1 {
			return fmt.Errorf("scraped without success: %v", s.Labels)
		}
		got = append(got, s.Labels["job"]+" "+s.Labels["pod"])
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("targets are %v, want %v", got, want)
	}
	return nil
}

// questions are those of golden signals with both identities, of the documentation, of Flagger's
// builtin metrics and our MetricTemplates, and of dashboards for Istio.
func (o *observed) questions() map[string]question {
	o.t.Helper()
	fill := strings.NewReplacer("$NS", o.Namespace, "$CALLER", identity(o.Scene, "caller"), "$FRONT", identity(o.Scene, "front-weft"), "$ECHO", identity(o.Scene, "echo"),
		"$PODS", fmt.Sprintf(`kubernetes_namespace=%q,kubernetes_pod_name=~"echo-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"`, o.Namespace),
		"$WORKLOAD", fmt.Sprintf(`reporter="destination",destination_workload_namespace=%q,destination_workload=~"echo"`, o.Namespace),
		"$SERVICE", fmt.Sprintf(`destination_service_namespace=%q,destination_service_name="echo",destination_port="80"`, o.Namespace)).Replace
	all := map[string]question{
		"the caller's requests": {`weft_requests_total{reporter="source",source_principal="$CALLER",destination_principal="$ECHO",namespace="$NS",workload="caller",pod=~"caller-.+",` +
			`source_workload="caller",source_workload_namespace="$NS",destination_workload="echo",destination_workload_namespace="$NS",$SERVICE,response_class="2xx",tls_version="TLSv1.3"}`, some},
		"the application's requests": {`weft_requests_total{reporter="destination",source_principal="$CALLER",destination_principal="$ECHO",namespace="$NS",workload="echo",pod=~"echo-.+",` +
			`source_workload="caller",source_workload_namespace="$NS",destination_workload="echo",destination_workload_namespace="$NS",$SERVICE,response_class="5xx",tls_version="TLSv1.3"}`, some},
		"the Gateway's requests": {`weft_requests_total{reporter="source",source_principal="$FRONT",destination_principal="$ECHO",namespace="$NS",workload="front-weft",$SERVICE,response_class="2xx"}`, some},
		"requests of gRPC":       {`weft_requests_total{reporter="destination",source_principal="$CALLER",destination_principal="$ECHO",grpc_response_status="0",namespace="$NS"}`, some},
		"connections":            {`weft_tcp_connections_opened_total{reporter="destination",source_principal="$CALLER",destination_principal="$ECHO",destination_port="9000",tls_version="TLSv1.3",namespace="$NS"}`, some},
		"the duration":           {`histogram_quantile(0.99, sum(rate(weft_request_duration_milliseconds_bucket{reporter="source",$SERVICE}[1m])) by (le))`, within(0, 10000)},

		"Flagger's success rate":                  {`sum(rate(http_request_duration_seconds_count{$PODS,status!~"5.*"}[1m])) / sum(rate(http_request_duration_seconds_count{$PODS}[1m])) * 100`, within(0, 100)},
		"Flagger's duration":                      {`histogram_quantile(0.99, sum(rate(http_request_duration_seconds_bucket{$PODS}[1m])) by (le))`, within(0, 10)},
		"Flagger's buckets, in seconds":           {`http_request_duration_seconds_bucket{$PODS,le="0.001"}`, some},
		"Flagger's success rate by Istio's names": {`sum(rate(istio_requests_total{$WORKLOAD,response_code!~"5.*"}[1m])) / sum(rate(istio_requests_total{$WORKLOAD}[1m])) * 100`, within(0, 100)},
		"Flagger's duration by Istio's names":     {`histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{$WORKLOAD}[1m])) by (le)) / 1000`, within(0, 10)},

		"a dashboard for Istio": {`istio_requests_total{reporter="destination",destination_service="echo.$NS.svc.cluster.local",source_principal="$CALLER",destination_principal="$ECHO",` +
			`source_workload="caller",request_protocol="http",connection_security_policy="mutual_tls",response_code="200"}`, some},
	}
	for what, q := range all {
		q.query = fill(q.query)
		all[what] = q
	}
	all["what the documentation calls the percent that failed"] = question{o.documented("Percent of requests to a Service that failed"), within(0, 100)}
	all["the MetricTemplate weft-success-rate"] = question{o.metricTemplate("weft-success-rate"), within(99.9, 100.1)}
	all["the MetricTemplate weft-duration"] = question{o.metricTemplate("weft-duration"), within(0, 10000)}
	return all
}

// documented is the query after some words of docs/telemetry.md, for the application instead of shop/cart.
func (o *observed) documented(words string) string {
	o.t.Helper()
	text, err := os.ReadFile(filepath.Join(o.Root, "docs", "telemetry.md"))
	if err != nil {
		o.t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), words)
	parts := strings.SplitN(after, "```", 3)
	if !found || len(parts) < 3 {
		o.t.Fatalf("docs/telemetry.md has no query after %q", words)
	}
	return strings.NewReplacer(`"shop"`, fmt.Sprintf("%q", o.Namespace), `"cart"`, `"echo"`).Replace(parts[1])
}

// metricTemplate is the query of one that we ship, as Flagger makes it.
func (o *observed) metricTemplate(name string) string {
	o.t.Helper()
	objects, err := stage.Decode(shipped(o.t, o.Scene, "flagger.yaml"))
	if err != nil {
		o.t.Fatal(err)
	}
	for _, object := range objects {
		if query, _, _ := unstructured.NestedString(object.Object, "spec", "query"); object.GetName() == name && query != "" {
			return strings.NewReplacer("{{ namespace }}", o.Namespace, "{{ service }}", "echo", "{{ interval }}", "1m").Replace(query)
		}
	}
	o.t.Fatalf("no MetricTemplate %s", name)
	return ""
}
