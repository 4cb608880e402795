package stories

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/sidecar"
)

const breakerPolicy = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata:
  name: breaker
spec:
  targetRefs: [{kind: Service, name: app, port: 80}]
  circuitBreaker: {maxRequests: 2}
`

// TestMeshCircuitBreaker: of three requests that are under way at once the third is answered 503 by the caller's own
// sidecar, which says so in its log and its metrics; the others are answered. The policy itself fails nothing as it
// comes.
func TestMeshCircuitBreaker(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "breaker")
	echo(t, s, "app", "declared", "{}")
	caller(t, s, "caller", false)
	s.Rollout("app")
	from, request := s.Caller("caller"), call.Request{Protocol: call.HTTP, Address: at("app", 80)}
	from.Answered(request, nil)
	if failed, _ := bad(during(from, 600, request, func() { s.Apply(breakerPolicy); s.Holds("breaker") })); failed > 0 {
		t.Errorf("%d of 600 failed as the policy came", failed)
	}
	from.Answered(call.Request{Protocol: call.HTTP, Address: at(s.Pod("app").Status.PodIP, 8080), Path: "/mood?delay=8s"}, nil)
	request.Path = "/slow"
	made := make(chan int, 3)
	for range cap(made) {
		go func() { made <- from.Call(request).Status }()
	}
	if got := []int{<-made, <-made, <-made}; !slices.Equal(got, []int{503, 200, 200}) {
		t.Errorf("three at once are answered %v; want one to be refused at once, and the others to be answered later", got)
	}
	s.Until(time.Minute, "the log and the metric tell of it", func(context.Context) error {
		if n := s.Scrape(from.Pod).Sum("envoy_weft_requests_total", stage.Labels{"response_flags": "UO", "response_code": "503"}); n == 0 {
			return fmt.Errorf("the metric counts none")
		}
		for _, line := range stage.AccessLog(s.Log(from.Pod, sidecar.ProxyContainer)) {
			if line["flags"] == "UO" && line["path"] == "/slow" {
				return nil
			}
		}
		return fmt.Errorf("no line has the flag UO")
	})
}
