package stories

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/smi/metrics"
)

// traffic is a story in which kubectl asks for TrafficMetrics.
type traffic struct {
	*stage.Scene
	t *testing.T
}

// TestTrafficMetrics has kubectl ask for the traffic of a Deployment under a known load, by users who may
// and who may not, and with a Prometheus that is not named, that runs, and that is down.
func TestTrafficMetrics(t *testing.T) {
	monitoring := stage.New(t, "monitoring")
	monitoring.OnThisMachine()
	deployPrometheus(t, monitoring, shipped(t, monitoring, "scrape.yaml"))
	monitoring.Apply("{apiVersion: v1, kind: Service, metadata: {name: prometheus}, spec: {selector: {app: prometheus}, ports: [{port: 9090}]}}")
	a := &traffic{stage.NewMeshed(t, "shop"), t}
	a.register()
	a.Apply(nobody)
	echo(t, a.Scene, "cart", "declared", "{}")
	caller(t, a.Scene, "web", false)
	a.Rollout("cart")
	web := a.Caller("web")
	web.Answered(call.Request{Protocol: call.HTTP, Address: "cart:80"}, bySidecar)

	const cart = "deployments/cart"
	a.says(cart, "ServiceUnavailable", "write its address into spec.metrics.prometheus.url of Mesh default")
	a.Apply(fmt.Sprintf("{apiVersion: mesh.weft.dev/v1alpha1, kind: Mesh, metadata: {name: default}, spec: {metrics: {prometheus: {url: 'http://prometheus.%s.svc:9090'}}}}", monitoring.Namespace))
	t.Cleanup(func() {
		a.must(a.Stage.Apply(context.Background(), "", "{apiVersion: mesh.weft.dev/v1alpha1, kind: Mesh, metadata: {name: default}}"))
	})
	monitoring.Prometheus()
	a.counts(web)
	a.users()

	monitoring.Apply("{apiVersion: apps/v1, kind: Deployment, metadata: {name: prometheus}, spec: {replicas: 0}}")
	a.says(cart, "ServiceUnavailable", "See that it runs")
	a.says("pods", "ServiceUnavailable", "spec.metrics.prometheus.url")
	resources, err := a.Kubectl(t.Context(), "api-resources", "--api-group=metrics.smi-spec.io", "--no-headers")
	if err != nil || !strings.Contains(resources, "statefulsets") {
		t.Errorf("without Prometheus the resources are %s %v", resources, err)
	}
}

func (a *traffic) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Error(err)
	}
}

// register applies what we ship for it, and waits until the API server has found the operator.
func (a *traffic) register() {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join(a.Root, "dist", "smi-metrics.yaml"))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { a.must(a.Stage.Remove(context.Background(), "", string(text))) })
	a.Apply(string(text))
	took := a.Until(2*time.Minute, "the API is available", func(ctx context.Context) error {
		for _, version := range metrics.Versions {
			if _, err := a.Kubectl(ctx, "wait", "--for=condition=Available", "--timeout=1s", "apiservice/"+version+"."+metrics.Group); err != nil {
				return err
			}
		}
		return nil
	})
	a.Step("the API is available after %s", took)
}

// raw asks for what is in the namespace, as a user or as the administrator.
func (a *traffic) raw(ctx context.Context, as, path string, into any) error {
	args := []string{"get", "--raw", "/apis/metrics.smi-spec.io/v1alpha1/namespaces/" + a.Namespace + "/" + path}
	if as != "" {
		args = append(args, "--as=system:serviceaccount:"+a.Namespace+":"+as)
	}
	text, err := a.Kubectl(ctx, args...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}

// says wants a refusal with some words.
func (a *traffic) says(path string, words ...string) {
	a.t.Helper()
	a.Until(time.Minute, path+" is refused with "+strings.Join(words, ", "), func(ctx context.Context) error {
		err := a.raw(ctx, "", path, &metrics.TrafficMetricsList{})
		if err == nil {
			return errors.New("it is answered")
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				return fmt.Errorf("no %q in: %w", word, err)
			}
		}
		return nil
	})
}

// row is one item of an answer, by the names of its figures.
type row struct {
	other   string
	figures map[string]float64
}

func rowOf(t metrics.TrafficMetrics) row {
	r := row{figures: map[string]float64{}}
	if o := t.Edge.Resource; o != nil {
		r.other = fmt.Sprintf("%s %s %s", t.Edge.Direction, o.Kind, o.Name)
	}
	for _, m := range t.Metrics {
		r.figures[m.Name] = m.Value.AsApproximateFloat64()
	}
	return r
}

// ordered wants latencies that can be those of one distribution.
func (r row) ordered() error {
	p50, p90, p99 := r.figures[metrics.P50], r.figures[metrics.P90], r.figures[metrics.P99]
	if p50 <= 0 || p50 > p90 || p90 > p99 || p99 > 10000 {
		return fmt.Errorf("p50 %v, p90 %v, p99 %v", p50, p90, p99)
	}
	return nil
}

// edge is the row with that other side, of the last hour: all that the pods ever did.
func (a *traffic) edge(ctx context.Context, path, other string) (row, error) {
	var list metrics.TrafficMetricsList
	if err := a.raw(ctx, "", path+"/edges?t=1h", &list); err != nil {
		return row{}, err
	}
	var all []string
	for _, item := range list.Items {
		r := rowOf(item)
		if r.other == other {
			return r, nil
		}
		all = append(all, r.other)
	}
	return row{}, fmt.Errorf("%s has no edge %q: %v", path, other, all)
}

// counts wants both sides of an edge, and the Deployment as a whole, to have grown by what is called,
// once it is scraped.
func (a *traffic) counts(web *stage.Caller) {
	a.t.Helper()
	const success, failure = 40, 8
	edges := map[string]string{"deployments/cart": "from Deployment web", "deployments/web": "to Deployment cart"}
	before := map[string]row{}
	for path, pod := range map[string]corev1.Pod{"deployments/cart": a.Pod("cart"), "deployments/web": web.Pod} {
		before[path] = a.counted(pod)
	}
	web.Calls(success, call.Request{Protocol: call.HTTP, Address: "cart:80"})
	web.Calls(failure, call.Request{Protocol: call.HTTP, Address: "cart:80", Path: "/via/nobody"}) // 503, says the application
	took := a.Until(2*time.Minute, "the load is counted", func(ctx context.Context) (err error) {
		for path, other := range edges {
			r, failed := a.edge(ctx, path, other)
			if failed == nil {
				failed = r.ordered()
			}
			s, f := r.figures[metrics.Success]-before[path].figures[metrics.Success], r.figures[metrics.Failure]-before[path].figures[metrics.Failure]
			if failed == nil && (s != success || f != failure) {
				failed = fmt.Errorf("%s: %v succeeded and %v failed", path, s, f)
			}
			err = errors.Join(err, failed)
		}
		return err
	})
	a.Step("%d requests and %d failures are counted exactly on both sides after %s", success, failure, took)
	var whole, callers metrics.TrafficMetrics
	edge, err := a.edge(a.t.Context(), "deployments/cart", edges["deployments/cart"])
	if err = errors.Join(err, a.raw(a.t.Context(), "", "deployments/cart?t=1h", &whole), a.raw(a.t.Context(), "", "deployments/web?t=1h", &callers)); err != nil {
		a.t.Fatal(err)
	}
	if r := rowOf(whole); r.figures[metrics.Success] != edge.figures[metrics.Success] || r.figures[metrics.Failure] != edge.figures[metrics.Failure] || r.ordered() != nil {
		a.t.Errorf("the only caller has %v, of %v", edge, r)
	}
	if r := rowOf(callers); r.figures[metrics.Success]+r.figures[metrics.Failure] != 0 {
		a.t.Errorf("nobody calls web, which received %v", r)
	}
	a.t.Logf("deployments/cart: %v", rowOf(whole).figures)
}

// counted is what a pod's proxy itself says of what was between web and cart.
func (a *traffic) counted(pod corev1.Pod) row {
	a.t.Helper()
	now := a.Scrape(pod)
	sum := func(code string) float64 {
		return now.Sum("envoy_weft_requests_total", stage.Labels{"source_principal": identity(a.Scene, "web"), "destination_principal": identity(a.Scene, "cart"), "response_code": code})
	}
	return row{figures: map[string]float64{metrics.Success: sum("200"), metrics.Failure: sum("503")}}
}

// users wants RBAC obeyed: a user with none is refused, and one who may view the namespace is answered,
// of this namespace only.
func (a *traffic) users() {
	a.t.Helper()
	a.Apply(`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: viewer}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}, subjects: [{kind: ServiceAccount, name: viewer}]}`)
	for _, path := range []string{"deployments/cart", "deployments/cart/edges", "pods", "edges"} {
		a.Until(time.Minute, "a viewer is answered", func(ctx context.Context) error {
			return a.raw(ctx, "viewer", path, &metrics.TrafficMetricsList{})
		})
		if err := a.raw(a.t.Context(), "nobody", path, &metrics.TrafficMetricsList{}); err == nil || !strings.Contains(err.Error(), "forbidden") {
			a.t.Errorf("%s for nobody: %v", path, err)
		}
	}
	if out, err := a.Kubectl(a.t.Context(), "get", "--raw", "/apis/metrics.smi-spec.io/v1alpha1/deployments", "--as=system:serviceaccount:"+a.Namespace+":viewer"); err == nil || !strings.Contains(err.Error(), "forbidden") {
		a.t.Errorf("all namespaces for a viewer of one: %s %v", out, err)
	}
	if out, err := a.Kubectl(a.t.Context(), "get", "pods", "--namespace="+a.Namespace); err != nil || !strings.Contains(out, "RESTARTS") {
		a.t.Errorf("kubectl get pods means others now: %s %v", out, err)
	}
	a.Step("a viewer is answered, nobody is refused")
}
