package stories

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// badPod is a pod that cannot be in the mesh, and words of the message that says so.
type badPod struct {
	name        string
	labels      string
	annotations string
	hostNetwork bool
	user        int
	words       []string
}

var badPods = []badPod{
	{name: "an unknown annotation", annotations: `{mesh.weft.dev/proxy-colour: blue}`, words: []string{"mesh.weft.dev/proxy-colour"}},
	{name: "no number of threads", annotations: `{mesh.weft.dev/proxy-concurrency: many}`, words: []string{"mesh.weft.dev/proxy-concurrency", "many"}},
	{name: "too many threads", annotations: `{mesh.weft.dev/proxy-concurrency: "1000"}`, words: []string{"mesh.weft.dev/proxy-concurrency", "1000"}},
	{name: "no log level", annotations: `{mesh.weft.dev/proxy-log-level: loud}`, words: []string{"mesh.weft.dev/proxy-log-level", "loud"}},
	{name: "no quantity", annotations: `{mesh.weft.dev/proxy-cpu: fast}`, words: []string{"mesh.weft.dev/proxy-cpu", "fast"}},
	{name: "no port", annotations: `{mesh.weft.dev/exclude-inbound-ports: "80,http"}`, words: []string{"mesh.weft.dev/exclude-inbound-ports", "http"}},
	{name: "a port out of range", annotations: `{mesh.weft.dev/exclude-outbound-ports: "70000"}`, words: []string{"mesh.weft.dev/exclude-outbound-ports", "70000"}},
	{name: "no range of addresses", annotations: `{mesh.weft.dev/exclude-outbound-cidrs: 10.0.0.0/40}`, words: []string{"mesh.weft.dev/exclude-outbound-cidrs", "10.0.0.0/40"}},
	{name: "the node's network", hostNetwork: true, words: []string{"hostNetwork", "mesh.weft.dev/inject=disabled"}},
	{name: "the proxy's user", user: 1337, words: []string{"runAsUser", "1337"}},
}

// TestAPodThatCannotBeInTheMeshIsRefused creates pods that cannot, and wants each refusal to say why
// and what to do; the same pods outside the mesh are let be.
func TestAPodThatCannotBeInTheMeshIsRefused(t *testing.T) {
	s := stage.NewMeshed(t, "bad")
	outside := s.Outside("outside")
	if err := tries(s, t, badPod{}); err != nil {
		t.Fatalf("a pod without fault is refused: %v", err)
	}
	for _, bad := range badPods {
		err := tries(s, t, bad)
		refusedWith(t, bad.name, err, bad.words...)
		if err := tries(outside, t, bad); err != nil {
			t.Errorf("%s outside the mesh: %v", bad.name, err)
		}
	}
	for _, level := range []string{"restricted", "baseline"} {
		tight := s.Labelled("tight", map[string]string{"mesh.weft.dev/inject": "enabled", "pod-security.kubernetes.io/enforce": level})
		refusedWith(t, "a namespace that allows no NET_ADMIN ("+level+")", tries(tight, t, badPod{}), "NET_ADMIN", level, "mesh.weft.dev/inject=disabled")
	}
}

// TestAPodAsksToBeInTheMesh starts a pod that asks, in a namespace that says nothing, and wants what it
// needs to come and to go with it; one that cannot be in is refused, and a closed namespace stays closed.
func TestAPodAsksToBeInTheMesh(t *testing.T) {
	s := stage.NewMeshed(t, "asks").Outside("asked")
	asking := badPod{labels: `{app: asking, mesh.weft.dev/inject: enabled}`}
	s.Apply(asking.manifest(t))
	s.Until(2*time.Minute, "the pod is ready, with its sidecar", func(ctx context.Context) error {
		var pod corev1.Pod
		if err := s.Get(ctx, s.Key("bad"), &pod); err != nil {
			return err
		}
		if !sidecar.Injected(&pod) {
			t.Fatal("the pod was made without a sidecar")
		}
		if !cluster.Ready(&pod) {
			return fmt.Errorf("it has %+v, %+v", pod.Status.Conditions, pod.Status.InitContainerStatuses)
		}
		return nil
	})
	s.Remove(asking.manifest(t))
	s.Until(time.Minute, "the roots are gone with the last pod", func(ctx context.Context) error {
		err := s.Get(ctx, s.Key(sidecar.RootsConfigMap), &corev1.ConfigMap{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("ConfigMap %s: %v; want none", sidecar.RootsConfigMap, err)
		}
		return nil
	})
	asking.hostNetwork = true
	refusedWith(t, "a pod that asks and cannot", tries(s, t, asking), "hostNetwork", "mesh.weft.dev/inject=disabled")
	closed := s.Labelled("closed", map[string]string{sidecar.InjectLabel: sidecar.Disabled})
	if err := tries(closed, t, asking); err != nil {
		t.Errorf("a pod that asks where none may: %v", err)
	}
}

// tries creates a pod, without any coming into being.
func tries(s *stage.Scene, t *testing.T, bad badPod) error {
	t.Helper()
	return s.Tries(bad.manifest(t))
}

func (b badPod) manifest(t *testing.T) string {
	t.Helper()
	return manifest(t, "mesh/bad.yaml", "$LABELS", cmp.Or(b.labels, "{}"), "$ANNOTATIONS", cmp.Or(b.annotations, "{}"),
		"$HOST_NETWORK", strconv.FormatBool(b.hostNetwork), "$USER", strconv.Itoa(cmp.Or(b.user, 65532)))
}

func refusedWith(t *testing.T, name string, err error, words ...string) {
	t.Helper()
	if err == nil {
		err = errors.New("it is let in")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: the message does not speak of %q: %v", name, word, err)
			return
		}
	}
	t.Logf("%s: %v", name, err)
}
