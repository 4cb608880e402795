package stories

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

const serviceLimit = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: limit}
spec:
  targetRefs: [{kind: Service, name: polite}]
  rateLimit: {local: {limits: [{requests: $RATE}]}}
`

// oneProxy is a Gateway with one proxy.
const oneProxy = `
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
data:
  deployment: |
    spec: {replicas: 1}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: weft
  infrastructure: {parametersRef: {group: "", kind: ConfigMap, name: one}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
`

// routeTo has that Gateway send all to a Service.
func routeTo(service string) string {
	return "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: front}\n" +
		"spec:\n  parentRefs: [{name: front}]\n  rules: [{backendRefs: [{name: " + service + ", port: 80}]}]\n"
}

// gatewayLimit is of a Gateway with one proxy: each counts for itself.
const gatewayLimit = oneProxy + `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: polite}
spec:
  parentRefs: [{name: front}]
  hostnames: [shop.test]
  rules:
  - filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Edition, value: "$EDITION"}]}}]
    backendRefs: [{name: polite, port: 80}]
---
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: users}
spec:
  targetRefs: [{kind: HTTPRoute, name: polite}]
  rateLimit: {local: {limits: [{requests: 3, per: 1h, by: [{type: Header, header: x-user}]}]}}
`

// limitedStep is when requests of the load may be turned away.
const limitedStep = "20 of 100 per second"

// TestRateLimit: a Service's limit comes, changes, bites and goes while its caller sends 100 requests per
// second: none fails but those that the limit turns away, and of them as many as it says. At a Gateway each
// user has a bucket, which a change of the route leaves as it is.
func TestRateLimit(t *testing.T) {
	s := stage.NewMeshed(t, "limits")
	s.OnThisMachine()
	s.Apply(manifest(t, "ledger.yaml"))
	s.Rollout("ledger")
	meshShop(t, s, "polite", "drain", "ledger", "IPv4")
	caller(t, s, "caller", false)
	edition := func(n int) string { return fill(gatewayLimit, "$EDITION", n) }
	s.Apply(edition(1))
	s.Rollout("polite")
	from := s.Caller("caller")
	from.Answered(call.Request{Protocol: call.HTTP, Address: "polite:80", Path: "/api/goods"}, nil)

	const rate = 100
	from.Start(load.Target{Address: at(clusterIP(t, s, "polite"), 80), Host: "polite"}, rate)
	from.Step("nothing is limited")
	from.Hold(2 * rate)
	for _, limit := range []int{1000, 2000} {
		from.Step(fmt.Sprintf("%d per second", limit))
		s.Apply(fill(serviceLimit, "$RATE", limit))
		s.Holds("limit")
		from.Hold(2 * rate)
	}
	from.Step(limitedStep)
	s.Apply(fill(serviceLimit, "$RATE", 20))
	s.Holds("limit")
	from.Hold(10 * rate)
	turned := s.Scrape(from.Pod).Sum("envoy_weft_rate_limited_total", stage.Labels{"policy": s.Namespace + "/limit", "destination_service_name": "polite"})
	s.Remove(fill(serviceLimit, "$RATE", 20))
	s.Until(time.Minute, "nothing is turned away any more", func(context.Context) error {
		for _, o := range from.Calls(30, call.Request{Protocol: call.HTTP, Address: "polite:80", Path: "/api/goods"}) {
			if o.Err() != nil {
				return o.Err()
			}
		}
		return nil
	})
	from.Step("nothing is limited any more")
	from.Hold(2 * rate)
	limited(t, from.Stop(), turned)
	users(t, s, edition)
}

func fill(text, name string, n int) string { return strings.ReplaceAll(text, name, strconv.Itoa(n)) }

// limited wants no request to have failed but by the limit, while it is there, and to have passed then what
// it lets through: 20 per second, and 20 at once when it comes.
func limited(t *testing.T, results []load.Result, counted float64) {
	t.Helper()
	var first, last time.Time
	passed, turned := 0, 0
	for _, r := range results {
		switch {
		case r.Step == limitedStep && r.Status == http.StatusTooManyRequests:
			if turned++; first.IsZero() || r.Due.Before(first) {
				first = r.Due
			}
			if r.Due.After(last) {
				last = r.Due
			}
		case r.Failed != "":
			t.Errorf("%s %s (%s): %s", r.Method, r.ID, r.Step, r.Failed)
		}
	}
	for _, r := range results {
		if r.Failed == "" && r.Due.After(first) && r.Due.Before(last) {
			passed++
		}
	}
	seconds := last.Sub(first).Seconds()
	if want := 20 * seconds; seconds < 5 || float64(passed) > 1.1*want+5 || float64(passed) < 0.9*want-5 {
		t.Errorf("in %.1f s %d requests passed and %d were turned away; want %.0f to pass", seconds, passed, turned, want)
	}
	if counted == 0 || counted > float64(turned)+100 {
		t.Errorf("%v are counted as turned away; it were %d in the end", counted, turned)
	}
	t.Logf("in %.1f s %d requests passed, %d were turned away", seconds, passed, turned)
}

// users asks the Gateway as two users.
func users(t *testing.T, s *stage.Scene, edition func(int) string) {
	t.Helper()
	gateway := s.Gateway("front")
	gateway.Answers(time.Minute, "shop.test", "/api/goods", 200)
	s.Holds("users")
	ask := func(user string) stage.Answer {
		a, err := gateway.GetWith(t.Context(), "shop.test", "/api/goods", http.Header{"X-User": {user}})
		if err != nil {
			t.Error(err)
		}
		return a
	}
	var codes []int
	for _, user := range []string{"a", "a", "a", "a", "b"} {
		codes = append(codes, ask(user).Status)
	}
	if got, want := fmt.Sprint(codes), "[200 200 200 429 200]"; got != want {
		t.Errorf("the users are answered %s, want %s", got, want)
	}
	s.Apply(edition(2))
	s.Until(time.Minute, "the route is served anew", func(ctx context.Context) error {
		a, err := gateway.Get(ctx, "shop.test", "/api/goods")
		if err == nil && a.Headers.Get("X-Edition") != "2" {
			err = fmt.Errorf("edition %q, status %d", a.Headers.Get("X-Edition"), a.Status)
		}
		return err
	})
	if a := ask("a"); a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("after the route changed, a user without tokens is answered %d %v", a.Status, a.Header)
	}
}
