package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// Images of the applications of the mesh, e2e/apps.
const (
	EchoImage   = "ghcr.io/weft-mesh/echo:v0.1.0"
	CallerImage = "ghcr.io/weft-mesh/caller:v0.1.0"
	// ProviderImage is that of e2e/apps/provider, which its story alone needs.
	ProviderImage = "ghcr.io/weft-mesh/provider:v0.1.0"
)

// LoadMeshApps builds the echo application and the caller and loads their images into the local
// cluster. Another cluster must be able to pull them.
func (s *Stage) LoadMeshApps(ctx context.Context) error {
	if err := s.LoadProgram(ctx, "./e2e/apps/echo", EchoImage); err != nil {
		return err
	}
	return s.LoadProgram(ctx, "./e2e/apps/caller", CallerImage)
}

// readyForMesh is the stage of this test process with what stories of the mesh need, made once.
var readyForMesh = sync.OnceValues(func() (*Stage, error) {
	s, err := ready()
	if err != nil {
		return nil, err
	}
	return s, s.LoadMeshApps(context.Background())
})

// inMesh are the labels of a namespace whose pods are in the mesh.
var inMesh = map[string]string{sidecar.InjectLabel: sidecar.Enabled}

// NewMeshed opens a scene whose namespace is in the mesh.
func NewMeshed(t testing.TB, name string) *Scene {
	t.Helper()
	s, err := readyForMesh()
	must(t, err)
	return (&Scene{Stage: s, t: t}).Beside(name)
}

// Beside opens a further scene of the same test in the mesh.
func (s *Scene) Beside(name string) *Scene {
	s.t.Helper()
	return s.Labelled(name, inMesh)
}

// Outside opens a further scene of the same test, in a namespace that is not in the mesh.
func (s *Scene) Outside(name string) *Scene {
	s.t.Helper()
	return s.Labelled(name, nil)
}

// Labelled opens a further scene of the same test, whose namespace bears labels.
func (s *Scene) Labelled(name string, labels map[string]string) *Scene {
	s.t.Helper()
	further := &Scene{Stage: s.Stage, t: s.t}
	further.Namespace = further.NewNamespace(name, labels)
	return further
}

// OnThisMachine leaves out a test that looks into the node unless the node is this machine.
func (s *Scene) OnThisMachine() {
	s.t.Helper()
	if !s.Local {
		s.t.Skip("this story looks into the node: unset KUBECONFIG to play it on the local cluster")
	}
}

// Tries creates the objects of a YAML text without any coming into being, and returns what the API
// server says to the first that it refuses.
func (s *Scene) Tries(text string) error {
	s.t.Helper()
	objects, err := Decode(s.fill(text))
	must(s.t, err)
	for _, object := range objects {
		must(s.t, s.settle(s.Namespace, object))
		if err := s.Create(s.t.Context(), object, client.DryRunAll); err != nil {
			return err
		}
	}
	return nil
}

// Pods are the running pods of the scene that bear the label app with that value.
func (s *Scene) Pods(app string) []corev1.Pod {
	s.t.Helper()
	var all corev1.PodList
	must(s.t, s.List(s.t.Context(), &all, client.InNamespace(s.Namespace), client.MatchingLabels{"app": app}))
	var running []corev1.Pod
	for _, pod := range all.Items {
		if pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodRunning {
			running = append(running, pod)
		}
	}
	return running
}

// Pod is the scene's only running pod with that value of the label app.
func (s *Scene) Pod(app string) (only corev1.Pod) {
	s.t.Helper()
	s.Until(time.Minute, "one pod of "+app+" runs", func(context.Context) error {
		pods := s.Pods(app)
		if len(pods) != 1 {
			return fmt.Errorf("%d run", len(pods))
		}
		only = pods[0]
		return nil
	})
	return only
}

// Caller is a pod from which a test calls: e2e/apps/caller.
type Caller struct {
	scene *Scene
	Pod   corev1.Pod
}

// Caller waits until the Deployment of that name has rolled out, and returns its pod.
func (s *Scene) Caller(name string) *Caller {
	s.t.Helper()
	s.Rollout(name)
	return &Caller{scene: s, Pod: s.Pod(name)}
}

// Call makes one call.
func (c *Caller) Call(r call.Request) call.Outcome {
	c.scene.t.Helper()
	var out call.Outcome
	c.tells(&out, r, "call")
	return out
}

// Calls makes n calls, one after the other.
func (c *Caller) Calls(n int, r call.Request) (all []call.Outcome) {
	c.scene.t.Helper()
	c.tells(&all, r, "calls", strconv.Itoa(n))
	return all
}

// Answered calls until there is an answer that pleases, and returns it.
func (c *Caller) Answered(r call.Request, pleases func(call.Outcome) error) (out call.Outcome) {
	c.scene.t.Helper()
	c.scene.Until(time.Minute, fmt.Sprintf("%s %s is answered", r.Protocol, r.Address), func(context.Context) error {
		if out = c.Call(r); out.Err() != nil || pleases == nil {
			return out.Err()
		}
		return pleases(out)
	})
	return out
}

// Start has the caller hold a load besides those that it holds.
func (c *Caller) Start(target load.Target, rate int) {
	c.scene.t.Helper()
	c.do(map[string]any{"target": target, "rate": rate}, "start")
}

// Step names what happens from now on.
func (c *Caller) Step(name string) {
	c.scene.t.Helper()
	c.do(nil, "step", name)
}

// Hold lets at least n more requests end.
func (c *Caller) Hold(n int) {
	c.scene.t.Helper()
	before := c.sent()
	c.scene.Until(3*time.Minute, fmt.Sprintf("%d requests end", n), func(context.Context) error {
		if more := c.sent() - before; more < n {
			return fmt.Errorf("%d have ended", more)
		}
		return nil
	})
}

func (c *Caller) sent() (n int) {
	c.scene.t.Helper()
	c.tells(&n, nil, "sent")
	return n
}

// Stop ends the loads and returns their results.
func (c *Caller) Stop() (results []load.Result) {
	c.scene.t.Helper()
	c.tells(&results, nil, "stop")
	return results
}

// tells reads what a command of the caller prints. On a busy machine Kubernetes loses at times what a command
// printed, and says that it succeeded (kubernetes/kubernetes#124571): then it is asked again.
func (c *Caller) tells(out, input any, command ...string) {
	c.scene.t.Helper()
	var text []byte
	for range 3 {
		if text = c.do(input, command...); json.Valid(text) {
			break
		}
		c.scene.t.Logf("caller %s printed %d bytes, which are no JSON: once more", strings.Join(command, " "), len(text))
	}
	must(c.scene.t, json.Unmarshal(text, out))
}

// do runs a command of the caller in its container.
func (c *Caller) do(input any, command ...string) []byte {
	c.scene.t.Helper()
	var text []byte
	if input != nil {
		var err error
		text, err = json.Marshal(input)
		must(c.scene.t, err)
	}
	out, err := c.scene.Exec(c.scene.t.Context(), c.Pod, "caller", text, append([]string{"/caller"}, command...)...)
	must(c.scene.t, err)
	return out
}
