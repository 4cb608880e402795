package stories

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// delivery is a shop in the mesh and behind a Gateway that Flagger delivers while requests are under way.
type delivery struct {
	*stage.Scene
	t       *testing.T
	caller  *stage.Caller
	gateway *stage.Gateway
	outside *load.Load // at the Gateway; nil before Flagger has made a route there
}

// shopHost is the host of the Canary in docs/flagger.md.
const shopHost = "shop.example.com"

// TestFlagger has an unmodified Flagger do what docs/flagger.md says: it takes over a shop that serves,
// brings a new version to it step by step, and takes back one that fails. What decides are the metrics
// of Weft's proxies. No request fails but those that the bad version itself answered.
func TestFlagger(t *testing.T) {
	stage.Parallel(t)
	d := &delivery{Scene: stage.NewMeshed(t, "flagger"), t: t}
	d.Apply(manifest(t, "flagger-gateway.yaml"))
	d.adopted()
	d.gateway = d.Gateway("web")
	d.gateway.Answers(time.Minute, shopHost, "/api", 200)
	d.outside = load.Start(load.Target{Address: d.gateway.At(80), Host: shopHost}, 25)
	d.delivers()
}

// delivers brings a version that is good and one that is bad.
func (d *delivery) delivers() {
	d.t.Helper()
	d.statusIsExact()
	d.step("a good version is delivered")
	d.deploy("green")
	weights := stage.Size([]int64{30, 60}, []int64{10, 20, 30, 40, 50})
	for _, weight := range weights {
		d.weight(weight)
		d.measured(weight, d.isCanary)
		d.statusIsExact()
	}
	d.phase("Succeeded")
	d.answersOf("green")

	d.step("a bad version is tried")
	d.deploy("red", "-broken")
	d.weight(weights[0])
	d.measured(weights[0], func(o call.Outcome) bool { return o.Status == 500 })
	d.phase("Failed")
	d.answersOf("green")
	d.step("it is taken back")
	d.caller.Hold(300)
	d.statusIsExact()
	d.account()
}

// adopted has the shop serve before Flagger knows of it, and waits until Flagger has taken it over.
func (d *delivery) adopted() {
	d.t.Helper()
	monitoring := stage.New(d.t, "monitoring")
	hurried := strings.Replace(shipped(d.t, monitoring, "scrape.yaml"), "scrape_interval: 15s", "scrape_interval: 3s", 1)
	deployPrometheus(d.t, monitoring, hurried)
	prometheus := "http://prometheus." + monitoring.Namespace + ":9090"
	d.deploy("blue")
	d.Apply(manifest(d.t, "flagger-service.yaml"))
	caller(d.t, d.Scene, "caller", false)
	d.caller = d.Caller("caller")
	d.caller.Answered(inMesh, nil)
	d.caller.Start(load.Target{Address: inMesh.Address, Host: "shop"}, 50)
	d.step("Flagger takes over")
	monitoring.Prometheus() // it answers from here on
	d.InstallFlagger(prometheus)
	d.Apply(strings.Replace(shipped(d.t, d.Scene, "flagger.yaml"), "http://prometheus.monitoring:9090", prometheus, 1))
	d.apply(d.canary())
	d.phase("Initialized")
}

// step names what happens from now on.
func (d *delivery) step(name string) {
	d.t.Helper()
	d.Step("%s", name)
	d.caller.Step(name)
	if d.outside != nil {
		d.outside.Step(name)
	}
}

// deploy gives the Deployment that Flagger watches another version of the shop.
func (d *delivery) deploy(version string, options ...string) {
	d.t.Helper()
	d.Apply(manifest(d.t, "flagger-shop.yaml", "$OPTIONS", strings.Join(append([]string{"-version=" + version}, options...), ", ")))
}

// canary is the one that docs/flagger.md shows, for the scene's namespace and in a hurry.
func (d *delivery) canary() *unstructured.Unstructured {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.Root, "docs", "flagger.md"))
	if err != nil {
		d.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "```yaml\n")
	block, _, found := strings.Cut(after, "```\n")
	objects, err := stage.Decode(block)
	if err != nil || !found || len(objects) != 1 || objects[0].GetKind() != "Canary" {
		d.t.Fatalf("the first YAML of docs/flagger.md is no Canary: %v", err)
	}
	canary := objects[0]
	canary.SetNamespace(d.Namespace)
	analysis, _, err := unstructured.NestedMap(canary.Object, "spec", "analysis")
	if err != nil {
		d.t.Fatal(err)
	}
	analysis["interval"] = "10s" // Flagger takes no less
	if !stage.Long() {
		analysis["stepWeight"], analysis["maxWeight"] = int64(30), int64(60)
	}
	for _, metric := range analysis["metrics"].([]any) {
		m := metric.(map[string]any)
		m["interval"] = "20s"
		if m["name"] == "request-duration" {
			m["thresholdRange"] = map[string]any{"max": int64(5000)} // this machine may be busy
		}
	}
	if err := unstructured.SetNestedMap(canary.Object, analysis, "spec", "analysis"); err != nil {
		d.t.Fatal(err)
	}
	return canary
}

func (d *delivery) apply(object *unstructured.Unstructured) {
	d.t.Helper()
	text, err := object.MarshalJSON()
	if err != nil {
		d.t.Fatal(err)
	}
	d.Apply(string(text))
}

// status is what the Canary says.
func (d *delivery) status(ctx context.Context) (phase string, weight int64, err error) {
	canary := &unstructured.Unstructured{}
	canary.SetAPIVersion("flagger.app/v1beta1")
	canary.SetKind("Canary")
	if err := d.Get(ctx, d.Key("shop"), canary); err != nil {
		return "", 0, err
	}
	phase, _, err = unstructured.NestedString(canary.Object, "status", "phase")
	if err == nil {
		weight, _, err = unstructured.NestedInt64(canary.Object, "status", "canaryWeight")
	}
	return phase, weight, err
}

// phase waits until the Canary is in a phase.
func (d *delivery) phase(want string) {
	d.t.Helper()
	took := d.Until(4*time.Minute, "the Canary is "+want, func(ctx context.Context) error {
		phase, weight, err := d.status(ctx)
		if err == nil && phase != want {
			err = fmt.Errorf("it is %s at weight %d", phase, weight)
		}
		return err
	})
	d.Step("the Canary is %s after %s", want, took.Round(time.Second))
}

// weight waits until the Canary has a weight.
func (d *delivery) weight(want int64) {
	d.t.Helper()
	d.Until(2*time.Minute, fmt.Sprintf("the Canary has weight %d", want), func(ctx context.Context) error {
		phase, weight, err := d.status(ctx)
		if err == nil && weight != want {
			err = fmt.Errorf("it is %s at weight %d", phase, weight)
		}
		return err
	})
}

// isCanary says whether a pod of the version that is tried gave an answer.
func (d *delivery) isCanary(o call.Outcome) bool {
	return o.Answer.Pod != "" && !strings.HasPrefix(o.Answer.Pod, "shop-primary-")
}

// drawn is how many requests measure a weight.
const drawn = 300

// tolerance is how far off their share may be, as each is drawn by itself: 4.5 standard deviations.
func tolerance(percent float64) float64 { return 4.5 * math.Sqrt(percent*(100-percent)/drawn) }

// inMesh is a request of the caller's pod.
var inMesh = call.Request{Protocol: call.HTTP, Address: "shop:80", Path: "/api"}

// calls sends n requests to each place where they can come in: from the caller's pod in the mesh, from
// here at the Gateway.
func (d *delivery) calls(n int) map[string][]call.Outcome {
	d.t.Helper()
	var outside []call.Outcome
	for range n {
		outside = append(outside, call.Do(d.t.Context(), call.Request{Protocol: call.HTTP, Address: d.gateway.At(80), Host: shopHost, Path: "/api"}))
	}
	return map[string][]call.Outcome{"in the mesh": d.caller.Calls(n, inMesh), "at the Gateway": outside}
}

// measured sends requests and wants that percent of them to be of the version that is tried. The weight
// must last until they are answered.
func (d *delivery) measured(percent int64, tried func(call.Outcome) bool) {
	d.t.Helper()
	generation := d.route(d.t.Context()).Generation
	for where, outcomes := range d.calls(drawn) {
		share := 0.0
		for _, o := range outcomes {
			if o.Failed != "" {
				d.t.Errorf("%s: %s", where, o.Failed)
			}
			if tried(o) {
				share += 100.0 / drawn
			}
		}
		d.Step("weight %d: %.1f %% of %d requests %s", percent, share, drawn, where)
		if math.Abs(share-float64(percent)) > tolerance(float64(percent)) {
			d.t.Errorf("%s %.1f %% of the requests are answered by the version that is tried, want %d", where, share, percent)
		}
	}
	if now := d.route(d.t.Context()).Generation; now != generation {
		d.t.Errorf("Flagger changed the weights while they were measured: generation %d was %d", now, generation)
	}
}

// answersOf waits until 100 answers one after the other are all of the primary pods, of that version.
func (d *delivery) answersOf(version string) {
	d.t.Helper()
	d.Until(time.Minute, "all answers are of the primary pods", func(context.Context) error {
		for where, outcomes := range d.calls(100) {
			for _, o := range outcomes {
				if o.Err() != nil || d.isCanary(o) {
					return fmt.Errorf("%s: status %d of pod %q: %s", where, o.Status, o.Answer.Pod, o.Failed)
				}
			}
		}
		return nil
	})
	for _, pod := range d.Pods("shop-primary") {
		if args := pod.Spec.Containers[0].Args; !slices.Contains(args, "-version="+version) {
			d.t.Errorf("pod %s is not of version %s: %v", pod.Name, version, args)
		}
	}
}

// route is the one that Flagger writes the weights into.
func (d *delivery) route(ctx context.Context) (route gwv1.HTTPRoute) {
	d.t.Helper()
	if err := d.Get(ctx, d.Key("shop"), &route); err != nil {
		d.t.Fatal(err)
	}
	return route
}

// statusIsExact wants of the route what newer versions of Flagger wait for: for each parent an entry with
// the very reference of the spec, accepted for this generation.
func (d *delivery) statusIsExact() {
	d.t.Helper()
	d.Until(10*time.Second, "the status of HTTPRoute shop is exact", func(ctx context.Context) error {
		var all error
		route := d.route(ctx)
		for _, ref := range route.Spec.ParentRefs {
			all = errors.Join(all, exact(route, ref))
		}
		return all
	})
}

func exact(route gwv1.HTTPRoute, ref gwv1.ParentReference) error {
	for _, parent := range route.Status.Parents {
		if !reflect.DeepEqual(parent.ParentRef, ref) {
			continue
		}
		accepted := meta.FindStatusCondition(parent.Conditions, string(gwv1.RouteConditionAccepted))
		if accepted == nil || accepted.Status != "True" || accepted.ObservedGeneration != route.Generation {
			return fmt.Errorf("parent %s %s at generation %d: Accepted is %+v", *ref.Kind, ref.Name, route.Generation, accepted)
		}
		return nil
	}
	return fmt.Errorf("no entry with the reference of the spec to %s %s: %+v", *ref.Kind, ref.Name, route.Status.Parents)
}

// account wants that nothing failed but what the bad version answered, at no more than its share.
func (d *delivery) account() {
	d.t.Helper()
	for where, results := range map[string][]load.Result{"in the mesh": d.caller.Stop(), "at the Gateway": d.outside.Stop()} {
		own := 0
		for _, r := range load.Failures(results, nil) {
			if r.Step != "a bad version is tried" || r.Failed != "status 500"+load.ByApplication {
				d.t.Errorf("%s, while %s: %s %s: %s", where, r.Step, r.Method, r.ID, r.Failed)
				continue
			}
			own++
		}
		if own == 0 {
			d.t.Errorf("%s nobody saw the bad version", where)
		}
		d.t.Logf("%s, %d answers were the bad version's own:\n%s", where, own, load.Print(load.Table(results, nil)))
	}
}
