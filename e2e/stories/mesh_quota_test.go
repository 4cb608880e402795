package stories

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// togetherLimit is of a Service as pods call it and, in the same bucket, of a Gateway with one proxy.
const togetherLimit = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: together}
spec:
  targetRefs: [{kind: Service, name: polite}, {kind: Gateway, name: front}]
  rateLimit: {global: {limits: [{requests: $RATE, burst: $BURST}]}}
`

const togetherGateway = oneProxy + `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: polite}
spec:
  parentRefs: [{name: front}]
  hostnames: [shop.test]
  rules: [{backendRefs: [{name: polite, port: 80}]}]
`

// together are ten proxies that send to one Service: sidecars, and a Gateway's. Three of them, the Gateway's one of
// these, send most.
type together struct {
	*stage.Scene
	t       *testing.T
	callers []*stage.Caller
	outside *load.Load
	steps   []span
}

// span is when a step began, and when it was over.
type span struct {
	name     string
	from, to time.Time
}

const (
	sidecars, much, little = 9, 30, 2 // requests per second of one
	demand                 = 3*much + 7*little
)

// TestGlobalRateLimit: ten proxies let through together what a limit says, within 5 %, whoever sends how much and
// whichever of two operators serves them. The limit comes and changes, and the operators are replaced, go and one is
// back, while they send: no request fails but by the limit, which holds for each proxy by itself while there is none.
func TestGlobalRateLimit(t *testing.T) {
	c := &together{Scene: stage.NewMeshed(t, "together"), t: t}
	c.OnThisMachine()
	c.setUp()
	c.step("unlimited", 2*time.Second, func() {})
	c.step("larger than what is sent", 2*time.Second, func() { c.limit(10 * demand) })
	long := stage.Size(5*time.Second, 30*time.Second)
	c.step("limited", long, func() { c.limit(40) })
	c.step("two operators", long, func() { operators(t, c.Scene, 2) })
	c.step("both replaced", 2*time.Second, func() { must(t, c.Roll(t.Context(), stage.System, stage.Operator, rollout)) })
	c.step("limited by others", long, func() {})
	c.step("operators gone", 3*time.Second, func() { operators(t, c.Scene, 0) })
	c.step("one is back", 2*time.Second, func() { operators(t, c.Scene, 1); c.Holds("together") })
	c.step("limited again", long, func() {})
	c.step("other numbers", long, func() { c.limit(60) })
	for i, from := range c.callers[:2] {
		if c.Scrape(from.Pod).Sum("envoy_weft_rate_limited_total", stage.Labels{"policy": c.Namespace + "/together", "destination_service_name": "polite"}) == 0 {
			t.Errorf("caller %d has turned nothing away by its metrics", i)
		}
	}
	c.judge(map[string]float64{
		"unlimited": demand, "larger than what is sent": demand, "limited": 40, "two operators": 40, "limited by others": 40,
		"operators gone": demand, "limited again": 40, "other numbers": 60,
	})
}

func (c *together) setUp() {
	c.t.Helper()
	c.Apply(manifest(c.t, "ledger.yaml"))
	c.Rollout("ledger")
	meshShop(c.t, c.Scene, "polite", "drain", "ledger", "IPv4")
	c.Apply(togetherGateway)
	for i := range sidecars {
		caller(c.t, c.Scene, fmt.Sprint("caller-", i), false)
	}
	c.Rollout("polite")
	target := load.Target{Address: at(clusterIP(c.t, c.Scene, "polite"), 80), Host: "polite"}
	for i := range sidecars {
		from := c.Caller(fmt.Sprint("caller-", i))
		from.Answered(call.Request{Protocol: call.HTTP, Address: "polite:80", Path: "/api/goods"}, nil)
		c.callers = append(c.callers, from)
	}
	gateway := c.Gateway("front")
	gateway.Answers(time.Minute, "shop.test", "/api/goods", http.StatusOK)
	for i, from := range c.callers {
		from.Start(target, []int{much, little}[min(i/2, 1)])
	}
	c.outside = load.Start(load.Target{Address: at(gateway.Proxies()[0].Status.PodIP, 80), Host: "shop.test"}, much)
}

func (c *together) limit(rate int) {
	c.t.Helper()
	c.Apply(fill(fill(togetherLimit, "$RATE", rate), "$BURST", burst))
	c.Holds("together")
}

// step plays a change, and holds the load for a time after it.
func (c *together) step(name string, long time.Duration, do func()) {
	c.t.Helper()
	c.Step("%s", name)
	do()
	begun, sent := time.Now(), c.outside.Sent()
	c.Until(long+time.Minute, "requests are sent", func(context.Context) error {
		if n := c.outside.Sent() - sent; float64(n) < much*long.Seconds() {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	c.steps = append(c.steps, span{name, begun, time.Now()})
}

// burst is how many requests of the limit a pause of the machine may put off, or bring forward.
const burst = 20

// judge wants so many to have passed per second, within 5 %, once the burst of a step is over, and no request ever to
// have failed but by the limit. In the short form a burst more or less is a larger part than that.
func (c *together) judge(want map[string]float64) {
	c.t.Helper()
	results := c.outside.Stop()
	for _, from := range c.callers {
		results = append(results, from.Stop()...)
	}
	for _, r := range results {
		if r.Failed != "" && r.Status != http.StatusTooManyRequests {
			c.t.Errorf("%s %s at %s: %s", r.Method, r.ID, r.Due.Format(time.TimeOnly), r.Failed)
		}
	}
	for _, s := range c.steps {
		from := s.from.Add(time.Second) // the burst
		passed := len(slices.DeleteFunc(slices.Clone(results), func(r load.Result) bool {
			return r.Failed != "" || r.Due.Before(from) || !r.Due.Before(s.to)
		}))
		perSecond := float64(passed) / s.to.Sub(from).Seconds()
		c.t.Logf("%s: in %.1f s %d passed, %.1f per second", s.name, s.to.Sub(from).Seconds(), passed, perSecond)
		limit, has := want[s.name]
		off := 0.05 * limit
		if !stage.Long() {
			off += burst / s.to.Sub(from).Seconds()
		}
		if has && s.to.Sub(from) > time.Second && math.Abs(perSecond-limit) > off {
			c.t.Errorf("%s: %.1f per second passed; want %.0f, give or take %.1f", s.name, perSecond, limit, off)
		}
	}
}
