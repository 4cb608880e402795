package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

const balancingPolicy = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: balancing}
spec:
  targetRefs: [{kind: Service, name: app}]
  loadBalancing: `

// TestMeshLoadBalancing: from a pod in the mesh, the shares of pods are as the algorithm has them, or the pods'
// reports of their load; by hash each key keeps its pod, and nearly all keys do when another pod goes; a change
// of the section fails no request.
func TestMeshLoadBalancing(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "balancing")
	s.Apply(manifest(t, "mesh/echo.yaml", "$NAME", "app", "$REPLICAS", "4", "$PORTS", declarations["declared"], "$ANNOTATIONS", "{}"))
	s.Apply(manifest(t, "ledger.yaml"))
	s.Rollout("ledger")
	meshShop(t, s, "polite", "drain", "ledger", "IPv4")
	caller(t, s, "caller", false)
	s.Rollout("app", "polite")
	from := s.Caller("caller")
	request := call.Request{Protocol: call.HTTP, Address: at("app", 80)}
	from.Answered(request, bySidecar)
	known(s, from, request, 4)
	from.Answered(call.Request{Protocol: call.HTTP, Address: "polite:80", Path: "/api/goods"}, nil)
	from.Start(load.Target{Address: at(clusterIP(t, s, "polite"), 80), Host: "polite"}, 100)
	balance := func(section string) {
		from.Step(section)
		s.Apply(balancingPolicy + section)
		s.Apply(strings.NewReplacer("{name: balancing}", "{name: polite}", "name: app", "name: polite").Replace(balancingPolicy) + section)
		s.Holds("balancing")
		s.Holds("polite")
		s.Step("%s", section)
	}
	for section, off := range map[string]int{"{algorithm: RoundRobin}": 1, "{algorithm: Random}": 22} { // of 25 each; by chance 5 standard deviations
		balance(section)
		shares := map[string]int{}
		for _, o := range from.Calls(100, request) {
			shares[o.Answer.Pod]++
		}
		t.Logf("%s: %v", section, shares)
		for pod, n := range shares {
			if n < 25-off || n > 25+off || pod == "" || len(shares) != 4 {
				t.Errorf("%s: the shares of four pods are %v", section, shares)
			}
		}
	}
	balance("{algorithm: ClientSideWeighted, clientSideWeighted: {blackout: 1s, update: 200ms}}")
	byLoad(s, from, request)
	for _, algorithm := range []string{"RingHash", "Maglev"} {
		balance("{algorithm: " + algorithm + ", hash: [{type: Header, name: x-user}]}")
	}
	keysStay(t, s, from, request, stage.Size(4, 10))
	judge(t, s, "100 requests per second while their balancing changes", from.Stop())
}

// byLoad has one of four pods report nine times the load of the others, until it gets what is due to it: a ninth
// of what each of them gets, one request of 28.
func byLoad(s *stage.Scene, from *stage.Caller, request call.Request) {
	pods := s.Pods("app")
	for i, pod := range pods {
		load := "0.1"
		if i == 0 {
			load = "0.9"
		}
		from.Answered(call.Request{Protocol: call.HTTP, Address: at(pod.Status.PodIP, 8080), Path: "/mood?load=" + load}, nil)
	}
	s.Until(time.Minute, "a busy pod gets a ninth of what the others get", func(context.Context) error {
		shares := map[string]int{}
		for _, o := range from.Calls(280, request) {
			shares[o.Answer.Pod]++
		}
		if n := shares[pods[0].Name]; n < 3 || n > 22 || len(shares) != 4 { // 10 of 280, by chance 4 standard deviations
			return fmt.Errorf("it got %d of 280: %v", n, shares)
		}
		s.Step("a pod that reports nine times the load of the others: %v", shares)
		return nil
	})
}

// keysStay has one of so many pods go, and looks where keys are before and after.
func keysStay(t *testing.T, s *stage.Scene, from *stage.Caller, request call.Request, n int) {
	t.Helper()
	must(t, scaleTo(t.Context(), s.Stage, s.Namespace, "app", n))
	s.Rollout("app")
	known(s, from, request, n)
	before := keyPods(t, from, request)
	must(t, scaleTo(t.Context(), s.Stage, s.Namespace, "app", n-1))
	there := map[string]bool{}
	s.Until(rollout, "one pod goes", func(context.Context) error {
		pods := s.Pods("app")
		if clear(there); len(pods) != n-1 {
			return fmt.Errorf("%d run", len(pods))
		}
		for _, p := range pods {
			there[p.Name] = true
		}
		for key, o := range keyPods(t, from, request) {
			if !there[o] {
				return fmt.Errorf("%s is at %q", key, o)
			}
		}
		return nil
	})
	stay, stayed := 0, 0
	for key, pod := range keyPods(t, from, request) {
		if there[before[key]] {
			if stay++; pod == before[key] {
				stayed++
			}
		}
	}
	s.Step("one of %d pods went: of %d keys of the others %d stayed", n, stay, stayed)
	if stay == 0 || stayed*10 < stay*9 {
		t.Errorf("of %d keys of pods that stay only %d stayed", stay, stayed)
	}
}

// keyPods are the pods that answer requests of 60 keys.
func keyPods(t *testing.T, from *stage.Caller, request call.Request) map[string]string {
	t.Helper()
	out := map[string]string{}
	for i := range 60 {
		key := fmt.Sprint("user-", i)
		request.Headers = map[string]string{"X-User": key}
		o := from.Call(request)
		if o.Err() != nil {
			t.Fatalf("%s: %v", key, o.Err())
		}
		out[key] = o.Answer.Pod
	}
	return out
}
