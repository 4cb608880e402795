package stories

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// mirrors are Services that are no good: one leads to an address where nobody is, so that connections to it
// are never made, one to a port on which nobody listens, and one to no pods.
const mirrors = `
apiVersion: v1
kind: Service
metadata: {name: slow}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: slow, labels: {kubernetes.io/service-name: slow}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.1]}]
ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: dead}
spec: {selector: {app: echo}, ports: [{name: http, port: 80, targetPort: 9}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {selector: {app: nobody}, ports: [{name: http, port: 80}]}
`

const mirrorRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: polite}
spec:
  parentRefs: [{group: "", kind: Service, name: polite, port: 80}, {name: front}]
  rules:
  - filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-mirror, value: $NAME}]}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: $NAME, port: 80}}}
    backendRefs: [{name: polite, port: 80}]
`

// unmirrored is a route of the Gateway as mirrorRoute, without a mirror.
var unmirrored = mirrorRoute[:strings.Index(mirrorRoute, "  - filters:")] + "  - backendRefs: [{name: polite, port: 80}]\n"

// TestMirror: a caller sends 100 requests per second to a Service, and as many through a Gateway, while copies of all
// of them go to one mirror after the other, each no good in another way but the first. None of its requests fails, and
// half are never late.
func TestMirror(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "mirrors")
	s.OnThisMachine()
	s.Apply(manifest(t, "ledger.yaml"))
	s.Rollout("ledger")
	meshShop(t, s, "polite", "drain", "ledger", "IPv4")
	echo(t, s, "echo", "declared", "{}")
	s.Apply(mirrors + "---" + oneProxy)
	caller(t, s, "caller", false)
	s.Rollout("polite", "echo")
	from := s.Caller("caller")
	request := call.Request{Protocol: call.HTTP, Address: "polite:80", Path: "/api/goods"}
	from.Answered(request, nil)
	s.Apply(unmirrored)
	gateway := s.Gateway("front")
	gateway.Answers(time.Minute, "polite", "/api/goods", 200)
	const rate = 200
	from.Start(load.Target{Address: at(clusterIP(t, s, "polite"), 80), Host: "polite"}, rate/2)
	from.Start(load.Target{Address: gateway.At(80), Host: "polite"}, rate/2)
	from.Step("no mirror")
	from.Hold(3 * rate)
	for _, name := range []string{"echo", "slow", "dead", "empty", "missing"} {
		from.Step("mirror: " + name)
		s.Apply(strings.ReplaceAll(mirrorRoute, "$NAME", name))
		from.Answered(request, func(o call.Outcome) error { return headers{"X-Mirror": name}.missing("the app", o.Answer.Headers) })
		s.Until(time.Minute, "the Gateway has the route", func(ctx context.Context) error {
			a, err := gateway.Get(ctx, "polite", "/api/goods")
			return errors.Join(err, headers{"X-Mirror": name}.missing("the app", a.Headers))
		})
		from.Hold(5 * rate)
	}
	results := from.Stop()
	noneFailed(t, results)
	if n := timesAsked(t, s, s.Pod("echo"), "/api/goods"); n < rate {
		t.Errorf("the mirror that is there was asked %d times, want %d at least", n, rate)
	}
	table := load.Table(results, nil)
	t.Logf("\n%s", load.Print(table))
	for _, step := range table[1:] {
		if usual := table[0]; step.P50 > 2*usual.P50+50e6 { // 50 ms
			t.Errorf("%s: half took more than %v, without a mirror %v", step.Step, step.P50, usual.P50)
		}
	}
}
