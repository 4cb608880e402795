package stories

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/stage"
)

// operators has that many replicas of the operator run.
func operators(t testing.TB, s *stage.Scene, replicas int) {
	t.Helper()
	if replicas != 1 {
		t.Cleanup(func() { // a step may fail before there is one again
			if err := scaleTo(context.Background(), s.Stage, stage.System, stage.Operator, 1); err != nil {
				t.Error(err)
			}
		})
	}
	must(t, scaleTo(t.Context(), s.Stage, stage.System, stage.Operator, replicas))
	must(t, s.WaitDeployment(t.Context(), stage.System, stage.Operator, rollout))
	s.Until(rollout, fmt.Sprintf("%d operators run", replicas), func(ctx context.Context) error {
		pods, err := operatorPods(ctx, s.Stage)
		if err == nil && len(pods) != replicas {
			err = fmt.Errorf("there are %d pods", len(pods))
		}
		return err
	})
}

func operatorPods(ctx context.Context, s *stage.Stage) ([]corev1.Pod, error) {
	var all corev1.PodList
	err := s.List(ctx, &all, client.InNamespace(stage.System), client.MatchingLabels{"app.kubernetes.io/component": "operator"})
	return all.Items, err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
