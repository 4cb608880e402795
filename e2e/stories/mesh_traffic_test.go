package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

const trafficPolicy = `
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackendTrafficPolicy
metadata:
  name: policy
spec:
  targetRefs: [{group: "", kind: Service, name: $NAME}]
`

// TestMeshSessions: a policy of a Service has sidecars keep sessions by a header, without any route.
func TestMeshSessions(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "sessions")
	s.Apply(manifest(t, "mesh/echo.yaml", "$NAME", "app", "$REPLICAS", "3", "$PORTS", declarations["undeclared"], "$ANNOTATIONS", "{}"))
	caller(t, s, "caller", false)
	s.Rollout("app")
	from := s.Caller("caller")
	s.Apply(strings.ReplaceAll(trafficPolicy, "$NAME", "app") + "  sessionPersistence: {type: Header, sessionName: x-session}\n")
	for _, w := range waysOf(call.HTTP, call.H2C) {
		request := call.Request{Protocol: w.protocol, Address: at("app", w.service)}
		header := ""
		first := from.Answered(request, func(o call.Outcome) error {
			for name := range o.Header {
				if strings.HasPrefix(strings.ToLower(name), "x-session-") {
					header = name
					return bySidecar(o)
				}
			}
			return fmt.Errorf("no session in %v", o.Header)
		})
		pods := map[string]bool{}
		for _, o := range from.Calls(30, request) {
			pods[o.Answer.Pod] = true
		}
		if len(pods) < 2 {
			t.Errorf("%s: without the header all requests are answered by %v", w.protocol, pods)
		}
		request.Headers = map[string]string{header: first.Header.Get(header)}
		for _, o := range from.Calls(30, request) {
			if o.Err() != nil || o.Answer.Pod != first.Answer.Pod || o.Header.Get(header) != "" {
				t.Fatalf("%s: the session of pod %s: %v, answered by %s, which says %v", w.protocol, first.Answer.Pod, o.Err(), o.Answer.Pod, o.Header)
			}
		}
	}
}

const failingRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: front
spec:
  gatewayClassName: weft
  listeners:
  - {name: http, port: 80, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: app
spec:
  parentRefs: [{name: front}]
  hostnames: [shop.test]
  rules:
  - retry: {codes: [503], attempts: 2}
    backendRefs: [{name: app, port: 80}]
`

// TestRetryBudget: while a backend fails, a policy bounds what is repeated. The backend counts.
func TestRetryBudget(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "budget")
	echo(t, s, "app", "declared", "{}")
	caller(t, s, "caller", false)
	s.Apply(failingRoute)
	s.Rollout("app")
	gateway, from := s.Gateway("front"), s.Caller("caller")
	gateway.Answers(time.Minute, "shop.test", "/", 200)
	const requests = 40
	asked := func(constraint string) int {
		s.Apply(strings.ReplaceAll(trafficPolicy, "$NAME", "app") + constraint)
		holding(s, "policy")
		before := failures(t, from)
		answered := make(chan error, requests)
		for range requests {
			go func() {
				a, err := gateway.Get(t.Context(), "shop.test", "/failing")
				if err == nil && a.Status != 503 {
					err = fmt.Errorf("it is answered %d", a.Status)
				}
				answered <- err
			}()
		}
		for range requests {
			if err := <-answered; err != nil {
				t.Error(err)
			}
		}
		return failures(t, from) - before
	}
	s.Until(time.Minute, "all that fails is repeated", func(context.Context) error {
		if n := asked("  retryConstraint: {budget: {percent: 100}, minRetryRate: {count: 1000, interval: 1s}}\n"); n != 3*requests {
			return fmt.Errorf("of %d requests it was asked %d times", requests, n)
		}
		return nil
	})
	s.Until(time.Minute, "little is repeated", func(context.Context) error {
		n := asked("  retryConstraint: {budget: {percent: 0}, minRetryRate: {count: 1, interval: 1s}}\n")
		if n > requests+requests/2 || n < requests {
			return fmt.Errorf("of %d requests it was asked %d times", requests, n)
		}
		s.Step("of %d requests that failed %d were repeated", requests, n-requests)
		return nil
	})
}

// failures says how often the failing application was asked.
func failures(t *testing.T, from *stage.Caller) (n int) {
	t.Helper()
	o := from.Call(call.Request{Protocol: call.HTTP, Address: at("app", 80), Path: "/failed"})
	if _, err := fmt.Sscan(o.Answer.Said, &n); err != nil {
		t.Fatalf("%v: %+v", err, o)
	}
	return n
}

// holding waits until a policy's status is of what was applied last, and good.
func holding(s *stage.Scene, name string) {
	s.Until(time.Minute, "XBackendTrafficPolicy "+name+" is accepted", func(ctx context.Context) error {
		var p gwx.XBackendTrafficPolicy
		if err := s.Get(ctx, s.Key(name), &p); err != nil {
			return err
		}
		for _, a := range p.Status.Ancestors {
			if c := a.Conditions[0]; c.Status == metav1.ConditionTrue && c.ObservedGeneration == p.Generation && *a.AncestorRef.Kind == "Gateway" {
				return nil
			}
		}
		return fmt.Errorf("ancestors: %+v", p.Status.Ancestors)
	})
}
