package stage

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// WaitDeployment waits until a Deployment has rolled out and none of its old pods is left.
func (s *Stage) WaitDeployment(ctx context.Context, namespace, name string, limit time.Duration) error {
	state := "it is not there"
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, limit, true, func(ctx context.Context) (bool, error) {
		var d appsv1.Deployment
		if err := s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &d); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		state = fmt.Sprintf("%d of %d replicas are available, %d updated", d.Status.AvailableReplicas, replicas(d), d.Status.UpdatedReplicas)
		return rolledOut(d), nil
	})
	if err != nil {
		return fmt.Errorf("roll out Deployment %s/%s not done within %s, %s: %w", namespace, name, limit, state, err)
	}
	return nil
}

func replicas(d appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

func rolledOut(d appsv1.Deployment) bool {
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == replicas(d) &&
		d.Status.AvailableReplicas == replicas(d) && d.Status.Replicas == replicas(d)
}

// Roll replaces every pod of a Deployment, as `kubectl rollout restart` does, and waits until the
// old pods are gone.
func (s *Stage) Roll(ctx context.Context, namespace, name string, limit time.Duration) error {
	var before appsv1.Deployment
	if err := s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &before); err != nil {
		return err
	}
	old, err := s.pods(ctx, before)
	if err != nil {
		return err
	}
	stamp := time.Now().Format(time.RFC3339Nano)
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, stamp)
	if err := s.Patch(ctx, &before, client.RawPatch(types.StrategicMergePatchType, []byte(patch)), owner); err != nil {
		return fmt.Errorf("roll Deployment %s/%s: %w", namespace, name, err)
	}
	if err := s.WaitDeployment(ctx, namespace, name, limit); err != nil {
		return err
	}
	return s.WaitGone(ctx, old, limit)
}

// Kill deletes every pod of a Deployment at once, without grace, and waits for their replacements.
func (s *Stage) Kill(ctx context.Context, namespace, name string, limit time.Duration) error {
	var d appsv1.Deployment
	if err := s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &d); err != nil {
		return err
	}
	old, err := s.pods(ctx, d)
	if err != nil {
		return err
	}
	for _, pod := range old {
		if err := s.Delete(ctx, &pod, client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("kill pod %s: %w", pod.Name, err)
		}
	}
	if err := s.WaitGone(ctx, old, limit); err != nil {
		return err
	}
	return s.WaitDeployment(ctx, namespace, name, limit)
}

func (s *Stage) pods(ctx context.Context, d appsv1.Deployment) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := s.List(ctx, &list, client.InNamespace(d.Namespace), client.MatchingLabels(d.Spec.Selector.MatchLabels))
	return list.Items, err
}

// WaitGone waits until none of some pods is left.
func (s *Stage) WaitGone(ctx context.Context, pods []corev1.Pod, limit time.Duration) error {
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, limit, true, func(ctx context.Context) (bool, error) {
		for _, pod := range pods {
			var now corev1.Pod
			err := s.Get(ctx, client.ObjectKeyFromObject(&pod), &now)
			if err == nil && now.UID == pod.UID {
				return false, nil
			}
			if client.IgnoreNotFound(err) != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("pods that were replaced did not go within %s: %w", limit, err)
	}
	return nil
}
