package stories

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

const outlierPolicy = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata:
  name: outliers
spec:
  targetRefs: [{kind: Service, name: app, port: 80}]
  outlierDetection: {interval: 1s, baseEjectionTime: 20s, maxEjectionTime: 20s}
  timeout: {request: 500ms}
`

// during makes calls, one after the other, while something is done.
func during(from *stage.Caller, n int, r call.Request, do func()) []call.Outcome {
	made := make(chan []call.Outcome, 1)
	go func() {
		defer close(made)
		made <- from.Calls(n, r)
	}()
	do()
	return <-made
}

// throughout makes calls, one after the other, until something is done, none of which may fail.
func throughout(t *testing.T, from *stage.Caller, r call.Request, do func()) {
	t.Helper()
	done, made := make(chan struct{}), make(chan []call.Outcome, 1)
	go func() {
		var all []call.Outcome
		defer func() { made <- all }()
		for {
			all = append(all, from.Calls(50, r)...)
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	do()
	close(done)
	all := <-made
	failed, by := bad(all)
	if failed > 0 {
		t.Errorf("%d of %d calls failed", failed, len(all))
	}
	t.Logf("%d calls, answered by %v", len(all), by)
}

// bad is how many calls failed, and who answered the others.
func bad(all []call.Outcome) (failed int, by map[string]int) {
	by = map[string]int{}
	for _, o := range all {
		if o.Failed != "" || o.Status != 200 {
			failed++
		} else {
			by[o.Answer.Pod]++
		}
	}
	return failed, by
}

// fleet is a Service of five pods and who calls it, who knows of all five.
func fleet(t *testing.T, name string) (*stage.Scene, *stage.Caller, call.Request) {
	s := stage.NewMeshed(t, name)
	s.Apply(manifest(t, "mesh/echo.yaml", "$NAME", "app", "$REPLICAS", "5", "$PORTS", declarations["declared"], "$ANNOTATIONS", "{}"))
	caller(t, s, "caller", false)
	s.Rollout("app")
	from, request := s.Caller("caller"), call.Request{Protocol: call.HTTP, Address: at("app", 80)}
	known(s, from, request, 5)
	return s, from, request
}

// known waits until the caller's proxy has heard of so many pods: they become ready before it does.
func known(s *stage.Scene, from *stage.Caller, request call.Request, pods int) {
	s.Until(20*time.Second, fmt.Sprintf("%d pods answer", pods), func(context.Context) error {
		if failed, by := bad(from.Calls(10*pods, request)); failed > 0 || len(by) != pods {
			return fmt.Errorf("%d failed, answered by %v", failed, by)
		}
		return nil
	})
}

// TestMeshOutliers: one of five pods answers 500, and one becomes slow. Five seconds later the caller sees at most 1 %
// of errors; both get requests again after they have healed. The policy itself fails nothing as it comes.
func TestMeshOutliers(t *testing.T) {
	stage.Parallel(t)
	s, from, request := fleet(t, "outliers")
	if failed, by := bad(during(from, 600, request, func() { s.Apply(outlierPolicy); s.Holds("outliers") })); failed > 0 || len(by) != 5 {
		t.Errorf("%d of 600 failed as the policy came; answered by %v", failed, by)
	}
	pods := s.Pods("app")
	mood := func(i int, says string) {
		from.Answered(call.Request{Protocol: call.HTTP, Address: at(pods[i].Status.PodIP, 8080), Path: "/mood?" + says}, nil)
	}
	mood(0, "status=500")
	mood(1, "delay=3s")
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		from.Calls(50, request)
	}
	all := from.Calls(400, request)
	failed, by := bad(all)
	s.Step("with two of five pods ill %d of %d failed; answered by %v", failed, len(all), by)
	if failed*100 > len(all) {
		t.Errorf("%d of %d failed while two of five pods were ill", failed, len(all))
	}
	if n := s.Scrape(from.Pod).Sum("envoy_cluster_outlier_detection_ejections_active", stage.Labels{"envoy_cluster_name": "service/" + s.Namespace + "/app/80"}); n != 2 {
		t.Errorf("the metric counts %v pods that are left out", n)
	}
	mood(0, "")
	mood(1, "")
	s.Until(time.Minute, "both are sent to again", func(context.Context) error {
		if _, by := bad(from.Calls(100, request)); len(by) != 5 {
			return fmt.Errorf("answered by %v", by)
		}
		return nil
	})
}

const healthPolicy = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata:
  name: health
spec:
  targetRefs: [{kind: Service, name: app, port: 80}]
  healthCheck:
    http: {path: /healthz}
    interval: 500ms
`

// TestMeshHealthCheck: a pod that says that it is not well gets nothing, without a request of callers having failed
// because of the check; as soon as it says that it is, it gets its share.
func TestMeshHealthCheck(t *testing.T) {
	stage.Parallel(t)
	s, from, request := fleet(t, "health")
	if failed, by := bad(during(from, 600, request, func() { s.Apply(healthPolicy); s.Holds("health") })); failed > 0 || len(by) != 5 {
		t.Errorf("%d of 600 failed as the policy came; answered by %v", failed, by)
	}
	ill := s.Pods("app")[0]
	mood := call.Request{Protocol: call.HTTP, Address: at(ill.Status.PodIP, 8080), Path: "/mood?status=500"}
	from.Answered(mood, nil)
	s.Until(20*time.Second, "the pod that is ill gets nothing", func(context.Context) error {
		failed, by := bad(from.Calls(200, request))
		if failed > 0 || by[ill.Name] > 0 || len(by) != 4 {
			return fmt.Errorf("%d failed, answered by %v", failed, by)
		}
		return nil
	})
	mood.Path = "/mood"
	from.Answered(mood, nil)
	s.Until(20*time.Second, "it gets its share again", func(context.Context) error {
		if failed, by := bad(from.Calls(200, request)); failed > 0 || by[ill.Name] == 0 {
			return errors.Join(fmt.Errorf("%d failed, answered by %v", failed, by))
		}
		return nil
	})
}
