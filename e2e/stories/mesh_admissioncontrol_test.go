package stories

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

const admittingService = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: admission}
spec:
  targetRefs: [{kind: Service, name: app, port: 80}]
  admissionControl: {samplingWindow: 5s, requestsPerSecondThreshold: 0}
`

// admittingFront is a Gateway that has a rule to the app that falls ill, and one to the other.
const admittingFront = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: weft
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: apps}
spec:
  parentRefs: [{name: front}]
  hostnames: [apps.test]
  rules:
  - {name: ill, matches: [{path: {value: /ill}}], backendRefs: [{name: app, port: 80}]}
  - {backendRefs: [{name: other, port: 80}]}
---
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: front}
spec:
  targetRefs: [{kind: Gateway, name: front}]
  admissionControl: {samplingWindow: 5s, requestsPerSecondThreshold: 0}
`

// TestAdmissionControl: of what a caller, and a Gateway, send to an app that answers 500 most is turned away, and
// nothing of what goes to another one. When the app is well again, so is all. The policies fail nothing as they
// come.
func TestAdmissionControl(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "admission")
	echo(t, s, "app", "declared", "{}")
	echo(t, s, "other", "declared", "{}")
	caller(t, s, "caller", false)
	s.Rollout("app", "other")
	from, request := s.Caller("caller"), call.Request{Protocol: call.HTTP, Address: at("app", 80)}
	from.Answered(request, nil)
	if failed, _ := bad(during(from, 600, request, func() { s.Apply(admittingService); s.Holds("admission") })); failed > 0 {
		t.Errorf("%d of 600 failed as the policy came", failed)
	}
	s.Apply(admittingFront)
	gateway := s.Gateway("front")
	gateway.Answers(time.Minute, "apps.test", "/ill", 200)
	s.Holds("front")
	mood := func(says string) {
		from.Answered(call.Request{Protocol: call.HTTP, Address: at(s.Pod("app").Status.PodIP, 8080), Path: "/mood?" + says}, nil)
	}
	through := func(path string) func(int) []call.Outcome {
		return func(n int) (all []call.Outcome) {
			for range n {
				all = append(all, call.Do(t.Context(), call.Request{Protocol: call.HTTP, Address: gateway.At(80), Host: "apps.test", Path: path}))
			}
			return all
		}
	}
	inside := func(n int) []call.Outcome { return from.Calls(n, request) }

	mood("status=500")
	sheds(t, s, "the caller", inside)
	sheds(t, s, "the Gateway", through("/ill"))
	if failed, _ := bad(through("/")(200)); failed > 0 {
		t.Errorf("%d of 200 to the other app failed", failed)
	}
	if failed, _ := bad(from.Calls(200, call.Request{Protocol: call.HTTP, Address: at("other", 80)})); failed > 0 {
		t.Errorf("%d of the caller's 200 to the other app failed", failed)
	}
	if n := s.Scrape(from.Pod).Sum("envoy_weft_admission_rejected_total", stage.Labels{"policy": s.Namespace + "/admission", "destination_service_name": "app"}); n == 0 {
		t.Error("nothing is counted as turned away")
	}
	mood("")
	admits(s, "the caller", inside)
	admits(s, "the Gateway", through("/ill"))
}

// sheds waits until more than half is turned away, by a 503 that is not the app's own.
func sheds(t *testing.T, s *stage.Scene, who string, send func(int) []call.Outcome) {
	t.Helper()
	s.Until(time.Minute, who+" turns most away", func(context.Context) error {
		codes := map[int]int{}
		for _, o := range send(100) {
			codes[o.Status]++
		}
		if codes[503] < 50 {
			return fmt.Errorf("answered %v", codes)
		}
		if codes[500] == 0 {
			t.Errorf("%s: nothing shows whether the app is well again: %v", who, codes)
		}
		return nil
	})
}

// admits waits until nothing is turned away.
func admits(s *stage.Scene, who string, send func(int) []call.Outcome) {
	s.Until(time.Minute, who+" turns nothing away", func(context.Context) error {
		if failed, _ := bad(send(100)); failed > 0 {
			return fmt.Errorf("%d of 100 failed", failed)
		}
		return nil
	})
}
