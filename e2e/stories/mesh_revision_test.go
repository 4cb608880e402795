package stories

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// TestTwoOperators runs a second one beside the first, for a namespace that names its revision. Pods of
// both call each other; and once the second is away, no pod of its revision is made, and all others are.
func TestTwoOperators(t *testing.T) {
	first := stage.NewMeshed(t, "first")
	secondOperator(t, first)
	second := first.Labelled("second", map[string]string{sidecar.InjectLabel: sidecar.Enabled, sidecar.RevisionLabel: "canary"})
	first.Until(2*time.Minute, "the second operator answers the API server", func(context.Context) error { return tries(second, t, badPod{}) })

	callers := map[*stage.Scene]*stage.Caller{}
	for s, operator := range map[*stage.Scene]string{first: "weft-xds.weft-system.svc", second: "weft-xds-canary.weft-system.svc"} {
		echo(t, s, "echo", "declared", "{}")
		caller(t, s, "caller", false)
		s.Rollout("echo")
		callers[s] = s.Caller("caller")
		if pod := callers[s].Pod; !servedBy(pod, operator) {
			t.Errorf("the proxy of Pod %s/%s is not served by %s", pod.Namespace, pod.Name, operator)
		}
	}
	both := func() {
		for _, from := range callers {
			for to := range callers {
				from.Answered(call.Request{Protocol: call.HTTP, Address: "echo." + to.Namespace + ":80"}, bySidecar)
			}
		}
	}
	both()
	first.Step("pods of two operators call each other")

	if _, err := first.Kubectl(t.Context(), "-n", stage.System, "scale", "deployment/weft-operator-canary", "--replicas=0"); err != nil {
		t.Fatal(err)
	}
	first.Until(time.Minute, "no pod of the second operator is made", func(context.Context) error {
		if err := tries(second, t, badPod{}); err == nil || !strings.Contains(err.Error(), "weft-webhook-canary") {
			return fmt.Errorf("it is answered: %v", err)
		}
		return nil
	})
	if err := tries(first, t, badPod{}); err != nil {
		t.Errorf("a pod of the first operator: %v", err)
	}
	if err := tries(second, t, badPod{labels: `{mesh.weft.dev/revision: ""}`}); err != nil {
		t.Errorf("a pod that names the first operator: %v", err)
	}
	both()
}

// servedBy says whether a pod's proxy connects to a host.
func servedBy(pod corev1.Pod, host string) bool {
	i := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == sidecar.ProxyContainer })
	return i >= 0 && strings.Contains(strings.Join(pod.Spec.InitContainers[i].Args, " "), host)
}

// secondOperator installs one, until the test ends, and what it made goes with it.
func secondOperator(t *testing.T, s *stage.Scene) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Root, "dist", "revision.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		err := s.Stage.Remove(ctx, "", string(text))
		gone := stage.Until(ctx, time.Minute, func(ctx context.Context) error {
			var pods corev1.PodList
			if err := s.List(ctx, &pods, client.InNamespace(stage.System), client.MatchingLabels{"app.kubernetes.io/component": "operator-canary"}); err != nil || len(pods.Items) > 0 {
				return fmt.Errorf("%d pods of the second operator: %v", len(pods.Items), err)
			}
			return nil
		})
		hooks := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "weft-injector-canary"}}
		_, certificates := s.Kubectl(ctx, "-n", stage.System, "delete", "--ignore-not-found",
			"certificate/weft-xds-canary", "certificate/weft-webhook-canary", "secret/weft-xds-tls-canary", "secret/weft-webhook-tls-canary")
		if err := errors.Join(err, gone, client.IgnoreNotFound(s.Delete(ctx, hooks)), certificates); err != nil {
			t.Error(err)
		}
	})
	if err := s.Stage.Apply(t.Context(), "", string(text)); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitDeployment(t.Context(), stage.System, "weft-operator-canary", 2*time.Minute); err != nil {
		t.Fatal(err)
	}
}
