package stories

import (
	"strings"
	"testing"

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
  parentRefs: [{group: "", kind: Service, name: polite, port: 80}]
  rules:
  - filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-mirror, value: $NAME}]}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: $NAME, port: 80}}}
    backendRefs: [{name: polite, port: 80}]
`

// TestMirror: a caller sends 100 requests per second, while copies of all of them go to one mirror after the
// other, each no good in another way. None of its requests fails, and none is late.
func TestMirror(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "mirrors")
	s.OnThisMachine()
	s.Apply(manifest(t, "ledger.yaml"))
	s.Rollout("ledger")
	meshShop(t, s, "polite", "drain", "ledger", "IPv4")
	echo(t, s, "echo", "declared", "{}")
	s.Apply(mirrors)
	caller(t, s, "caller", false)
	s.Rollout("polite", "echo")
	from := s.Caller("caller")
	request := call.Request{Protocol: call.HTTP, Address: "polite:80", Path: "/api/goods"}
	from.Answered(request, nil)
	const rate = 100
	from.Start(load.Target{Address: at(clusterIP(t, s, "polite"), 80), Host: "polite"}, rate)
	from.Step("no mirror")
	from.Hold(3 * rate)
	for _, name := range []string{"echo", "slow", "dead", "empty", "missing"} {
		from.Step("mirror: " + name)
		s.Apply(strings.ReplaceAll(mirrorRoute, "$NAME", name))
		from.Answered(request, func(o call.Outcome) error { return headers{"X-Mirror": name}.missing("the app", o.Answer.Headers) })
		from.Hold(5 * rate)
	}
	results := from.Stop()
	for _, r := range results {
		if r.Failed != "" {
			t.Errorf("%s %s (%s): %s", r.Method, r.ID, r.Step, r.Failed)
		}
	}
	table := load.Table(results, nil)
	t.Logf("\n%s", load.Print(table))
	for _, step := range table[1:] {
		if usual := table[0]; step.P50 > 2*usual.P50+50e6 { // 50 ms
			t.Errorf("%s: half took more than %v, without a mirror %v", step.Step, step.P50, usual.P50)
		}
	}
}
