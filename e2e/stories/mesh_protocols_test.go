package stories

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/cluster"
)

// conversation is a caller in the mesh and a count of what it did.
type conversation struct {
	*stage.Scene
	t      *testing.T
	caller *stage.Caller
	calls  int
}

// TestEveryProtocol calls applications in the mesh in every protocol, however their Services declare
// it, by Service and by pod IP.
func TestEveryProtocol(t *testing.T) {
	stage.Parallel(t)
	c := newConversation(t, "protocols")
	for name := range declarations {
		echo(t, c.Scene, name, name, "{}")
	}
	for name := range declarations {
		c.Rollout(name)
		pod := c.Pod(name)
		for _, w := range ways {
			c.says(w, at(name, w.service), pod.Name, bySidecar)
			c.says(w, at(pod.Status.PodIP, w.pod), pod.Name, bySidecar)
		}
	}
	t.Logf("%d calls were answered by the right application in the right protocol", c.calls)
}

func newConversation(t *testing.T, name string) *conversation {
	t.Helper()
	c := &conversation{Scene: stage.NewMeshed(t, name), t: t}
	caller(t, c.Scene, "caller", false)
	c.caller = c.Caller("caller")
	return c
}

// says makes one call and wants it to be answered by a pod of that name, or by any if it is empty.
func (c *conversation) says(w way, address, pod string, came func(call.Outcome) error) call.Outcome {
	c.t.Helper()
	said := word("hello")
	out := c.caller.Answered(call.Request{Protocol: w.protocol, Address: address, Text: said}, came)
	if out.Answer.Said != said || out.Answer.Protocol != w.seen || (pod != "" && out.Answer.Pod != pod) {
		c.t.Errorf("%s %s: the answer is %+v; want pod %s, protocol %s", w.protocol, address, out.Answer, pod, w.seen)
	}
	if w.protocol == call.TLS && strings.Join(out.Names, ",") != "own.echo.test" {
		c.t.Errorf("%s: TLS ends before the application: the certificate names %v", address, out.Names)
	}
	c.calls++
	return out
}

// TestEveryKindOfDestination calls what is not a plain Service of pods in the mesh.
func TestEveryKindOfDestination(t *testing.T) {
	stage.Parallel(t)
	c := newConversation(t, "kinds")
	outside := c.Outside("outside")
	echo(t, outside, "echo", "declared", "{}")
	outside.Rollout("echo")
	stranger := outside.Pod("echo")
	c.Apply(manifest(t, "mesh/headless.yaml"))
	c.Apply(manifest(t, "mesh/mixed.yaml"))
	c.Apply(manifest(t, "mesh/unselected.yaml", "$ADDRESS", stranger.Status.PodIP))

	asSent := past(c.caller.Pod)
	for _, w := range ways {
		c.says(w, at("echo."+outside.Namespace, w.service), stranger.Name, asSent)
		c.says(w, at(stranger.Status.PodIP, w.pod), stranger.Name, asSent)
	}
	c.Step("a Service and a pod outside the mesh are reached in every protocol")
	for _, w := range waysOf(call.HTTP, call.TCP) {
		c.says(w, at("unselected", w.service), stranger.Name, asSent)
	}
	c.Step("a Service without selector is reached")
	c.headless()
	c.mixed()
	t.Logf("%d calls were answered by the right application in the right protocol", c.calls)
}

// headless calls pods by their own names.
func (c *conversation) headless() {
	c.t.Helper()
	c.Until(3*time.Minute, "StatefulSet set is ready", func(ctx context.Context) error {
		var set appsv1.StatefulSet
		if err := c.Get(ctx, c.Key("set"), &set); err != nil {
			return err
		}
		if set.Status.ReadyReplicas != 2 {
			return fmt.Errorf("%d of 2 are ready", set.Status.ReadyReplicas)
		}
		return nil
	})
	for _, w := range waysOf(call.HTTP, call.WebSocket, call.GRPC, call.TCP) {
		for _, pod := range []string{"set-0", "set-1"} {
			c.says(w, at(pod+".headless", w.pod), pod, bySidecar)
		}
		c.says(w, at("headless", w.pod), "", bySidecar)
	}
	c.Step("pods of a StatefulSet are reached by their names")
}

// mixed calls a Service of which one endpoint is in the mesh, until both have answered.
func (c *conversation) mixed() {
	c.t.Helper()
	for _, pod := range []string{"mixed-inside", "mixed-outside"} {
		c.Until(3*time.Minute, pod+" is ready", func(ctx context.Context) error { return podReady(ctx, c.Scene, pod) })
	}
	for _, w := range waysOf(call.HTTP, call.WebSocket, call.GRPC, call.TCP) {
		came := map[string]func(call.Outcome) error{"mixed-inside": bySidecar, "mixed-outside": past(c.caller.Pod)}
		had := map[string]int{}
		for tries := 0; len(had) < 2 && tries < 200; tries++ {
			out := c.says(w, at("mixed", w.service), "", nil)
			had[out.Answer.Pod]++
			if err := came[out.Answer.Pod](out); err != nil {
				c.t.Errorf("%s to %s: %v", w.protocol, out.Answer.Pod, err)
			}
		}
		if len(had) < 2 {
			c.t.Errorf("%s: of two endpoints only %v answered", w.protocol, had)
		}
	}
	c.Step("both endpoints of a Service answer, one in the mesh and one outside")
}

func podReady(ctx context.Context, s *stage.Scene, name string) error {
	var pod corev1.Pod
	if err := s.Get(ctx, s.Key(name), &pod); err != nil {
		return err
	}
	if cluster.Ready(&pod) {
		return nil
	}
	return fmt.Errorf("phase %s, not ready", pod.Status.Phase)
}

// TestAJobEndsWithItsApplication runs a Job whose first act is a call: the proxy is ready before it,
// and does not keep its pod alive after it.
func TestAJobEndsWithItsApplication(t *testing.T) {
	stage.Parallel(t)
	s := stage.NewMeshed(t, "job")
	echo(t, s, "echo", "declared", "{}")
	s.Rollout("echo")
	s.Apply(manifest(t, "mesh/job.yaml"))
	took := s.Until(2*time.Minute, "Job ends is complete", func(ctx context.Context) error {
		var job batchv1.Job
		if err := s.Get(ctx, s.Key("ends"), &job); err != nil {
			return err
		}
		if job.Status.Failed > 0 {
			t.Fatal("the application had no answer to its first call")
		}
		if job.Status.Succeeded != 1 {
			return errors.New("it runs")
		}
		return nil
	})
	t.Logf("the Job was complete %s after its creation", took.Round(time.Millisecond))
}
