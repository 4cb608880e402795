package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	split "github.com/weft-mesh/weft/api/smi/split/v1alpha2"
	stored "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// canary is the story of a Service whose traffic a TrafficSplit moves from one version to another while a
// pod in the mesh calls it.
type canary struct {
	*stage.Scene
	t      *testing.T
	caller *stage.Caller
}

// TestSMISplit holds 150 requests per second while a TrafficSplit comes, changes, is overridden and goes.
func TestSMISplit(t *testing.T) {
	c := &canary{Scene: stage.NewMeshed(t, "smi"), t: t}
	c.must(c.InstallSMI(t.Context()))
	c.setUp()
	c.caller.Start(load.Target{Address: "web:80", Host: "web"}, 150)
	c.step("without a split", func() { c.shares(0) })
	c.step("in steps, as Flagger writes them", c.promote)
	c.step("A/B", c.compare)
	c.step("an HTTPRoute goes before it", c.override)
	c.step("the route goes", c.giveBack)
	c.step("the split goes", func() {
		c.must(c.Delete(t.Context(), &split.TrafficSplit{ObjectMeta: c.named("web")}))
		c.until("the primary has all again", func() error { return c.insiders(0) })
	})
	judge(t, c.Scene, "150 requests per second from pod to pod, open loop, never retried by the client", c.caller.Stop())
	c.connections()
	c.versions()
}

func (c *canary) setUp() {
	c.t.Helper()
	c.Apply(manifest(c.t, "ledger.yaml"))
	c.Apply(manifest(c.t, "mesh/split.yaml"))
	for _, name := range []string{"web-primary", "web-canary"} {
		meshShop(c.t, c.Scene, name, "drain", "ledger", "IPv4")
	}
	for _, name := range []string{"lines-primary", "lines-canary"} {
		echo(c.t, c.Scene, name, "named", "{}")
	}
	caller(c.t, c.Scene, "caller", false)
	c.Rollout("ledger", "web-primary", "web-canary", "lines-primary", "lines-canary")
	c.caller = c.Caller("caller")
	for _, name := range []string{"web", "web-primary", "web-canary"} {
		c.caller.Answered(call.Request{Protocol: call.HTTP, Address: name + ":80", Path: "/api/goods"}, nil)
	}
}

func (c *canary) named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: c.Namespace, Name: name}
}

func (c *canary) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// step plays one change under load, and holds the load for a while after it.
func (c *canary) step(name string, do func()) {
	c.t.Helper()
	c.Step("%s", name)
	c.caller.Step(name)
	do()
	c.caller.Hold(stage.Size(450, 3000))
}

func (c *canary) until(what string, holds func() error) {
	c.t.Helper()
	c.Until(time.Minute, what, func(context.Context) error { return holds() })
}

// promote moves the weights as Flagger does: it reads its object, changes the weights and writes it back.
func (c *canary) promote() {
	c.t.Helper()
	t := &split.TrafficSplit{ObjectMeta: c.named("web"), Spec: split.TrafficSplitSpec{Service: "web",
		Backends: []split.TrafficSplitBackend{{Service: "web-primary", Weight: 100}, {Service: "web-canary"}}}}
	c.must(c.Create(c.t.Context(), t))
	c.SplitShows("web", stage.Condition{Type: stored.ConditionReady, Status: metav1.ConditionTrue})
	c.shares(0)
	for _, weight := range []int{10, 30, 50, 100} {
		c.weigh(weight)
		c.shares(weight)
	}
	c.weigh(30)
	c.shares(30)
}

// weigh gives the canary a weight of 100.
func (c *canary) weigh(weight int) {
	c.t.Helper()
	t := &split.TrafficSplit{}
	c.until("the weights are written", func() error { // the status may be written between the two
		if err := c.Get(c.t.Context(), c.Key("web"), t); err != nil {
			return err
		}
		t.Spec.Backends[0].Weight, t.Spec.Backends[1].Weight = 100-weight, weight
		return c.Update(c.t.Context(), t)
	})
}

// sample is how many calls tell a share: four standard deviations of the worst are then a tenth.
const sample = 400

// shares waits until the canary has a part in percent of what is sent, give or take a tenth of all; none
// and all are exact.
func (c *canary) shares(percent int) {
	c.t.Helper()
	c.until(fmt.Sprintf("the canary has %d%%", percent), func() error {
		got := c.count(sample, nil)
		low, high := (percent-10)*sample/100, (percent+10)*sample/100
		if percent == 0 || percent == 100 {
			low, high = percent*sample/100, percent*sample/100
		}
		if got < low || got > high {
			return fmt.Errorf("it got %d of %d", got, sample)
		}
		return nil
	})
}

// count is how many of n calls reach the canary.
func (c *canary) count(n int, headers map[string]string) (canary int) {
	c.t.Helper()
	for _, o := range c.caller.Calls(n, call.Request{Protocol: call.HTTP, Address: "web:80", Path: "/api/goods", Headers: headers}) {
		c.must(o.Err())
		if strings.HasPrefix(o.Answer.Pod, "web-canary-") {
			canary++
		}
	}
	return canary
}

// insiders wants so many of ten requests of insiders, and of ten others none, to reach the canary.
func (c *canary) insiders(wanted int) error {
	c.t.Helper()
	if got, others := c.count(10, map[string]string{"x-group": "insider-1"}), c.count(10, nil); got != wanted || others != 0 {
		return fmt.Errorf("%d of 10 insiders reach the canary, and %d of 10 others", got, others)
	}
	return nil
}

// compare gives the canary those whom an HTTPRouteGroup describes. A client of a version that knows of no
// groups leaves that as it is.
func (c *canary) compare() {
	c.t.Helper()
	c.Apply(`
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: insiders}
spec: {matches: [{name: insiders, pathRegex: /api, methods: [GET], headers: {x-group: "insider-.*"}}]}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: web}
spec: {service: web, matches: [{kind: HTTPRouteGroup, name: insiders}], backends: [{service: web-primary, weight: 0}, {service: web-canary, weight: 100}]}`)
	c.until("insiders reach the canary", func() error { return c.insiders(10) })
	c.weigh(0)
	c.until("nobody reaches the canary", func() error { return c.insiders(0) })
	c.weigh(100)
	c.until("insiders reach the canary again", func() error { return c.insiders(10) })
}

const webRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web-route}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules: [{backendRefs: [{name: web-canary, port: 80}]}]`

func (c *canary) override() {
	c.t.Helper()
	c.Apply(webRoute)
	c.shares(100)
	for _, kind := range []string{stored.ConditionAccepted, stored.ConditionReady} {
		c.SplitShows("web", stage.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: stored.ReasonOverridden, Message: []string{"HTTPRoute " + c.Namespace + "/web-route"}})
	}
}

func (c *canary) giveBack() {
	c.t.Helper()
	c.Remove(webRoute)
	c.until("the split decides again", func() error { return c.insiders(10) })
	c.SplitShows("web", stage.Condition{Type: stored.ConditionReady, Status: metav1.ConditionTrue})
}

// connections that are not HTTP are divided too.
func (c *canary) connections() {
	c.t.Helper()
	reach := func(pod string) {
		c.t.Helper()
		c.caller.Answered(call.Request{Protocol: call.TCP, Address: "lines:9000", Text: "hello"}, func(o call.Outcome) error {
			if !strings.HasPrefix(o.Answer.Pod, pod) {
				return fmt.Errorf("it reached %s", o.Answer.Pod)
			}
			return nil
		})
	}
	reach("lines-primary-")
	c.Apply(`
apiVersion: split.smi-spec.io/v1alpha3
kind: TrafficSplit
metadata: {name: lines}
spec: {service: lines, backends: [{service: lines-primary, weight: 0}, {service: lines-canary, weight: 1}]}`)
	reach("lines-canary-")
}

// versions are all that kubectl asks for, whichever one was written.
func (c *canary) versions() {
	c.t.Helper()
	c.Apply(`
apiVersion: split.smi-spec.io/v1alpha1
kind: TrafficSplit
metadata: {name: oldest}
spec: {service: web, backends: [{service: web-primary, weight: 900m}, {service: web-canary, weight: 100m}]}`)
	c.SplitShows("oldest", stage.Condition{Type: stored.ConditionReady, Status: metav1.ConditionTrue})
	for version, weights := range map[string]string{"v1alpha1": "900m 100m", "v1alpha2": "900 100", "v1alpha3": "900 100", "v1alpha4": "900 100"} {
		out, err := c.Kubectl(c.t.Context(), "-n", c.Namespace, "get", "trafficsplits."+version+".split.smi-spec.io", "oldest",
			"-o", "jsonpath={.apiVersion} {.spec.backends[*].weight}")
		c.must(err)
		if want := "split.smi-spec.io/" + version + " " + weights; out != want {
			c.t.Errorf("kubectl gets %q, want %q", out, want)
		}
	}
	table, err := c.Kubectl(c.t.Context(), "-n", c.Namespace, "get", "ts,htr")
	c.must(err)
	c.t.Log("\n" + table)
	for _, words := range []string{"NAME", "SERVICE", "READY", "web-primary 900, web-canary 100", "insiders"} {
		if !strings.Contains(table, words) {
			c.t.Errorf("kubectl's table has no %s", words)
		}
	}
}
