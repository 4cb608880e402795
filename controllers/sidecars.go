package controllers

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/webhooks"
)

// maxOutdated is how many pods the Mesh's status names.
const maxOutdated = 32

// sidecars knows the pods that run a proxy, and of which revision it is.
type sidecars struct {
	mu        sync.Mutex
	revisions map[string]string // by "namespace/name" of the pod
}

// take notes a pod, and tells whether that is news.
func (s *sidecars) take(obj client.Object) (news bool) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return false
	}
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	if ended || !sidecar.Injected(pod) {
		return s.drop(obj)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revisions == nil {
		s.revisions = map[string]string{}
	}
	was, known := s.revisions[keyOf(obj)]
	now := pod.Annotations[sidecar.InjectedAnnotation]
	s.revisions[keyOf(obj)] = now
	return !known || was != now
}

func (s *sidecars) drop(obj client.Object) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.revisions[keyOf(obj)]
	delete(s.revisions, keyOf(obj))
	return known
}

// summary counts them, and names those that are of another revision.
func (s *sidecars) summary(revision string) v1alpha1.SidecarSummary {
	s.mu.Lock()
	defer s.mu.Unlock()
	var outdated []string
	for pod, made := range s.revisions {
		if made != revision {
			outdated = append(outdated, pod)
		}
	}
	slices.Sort(outdated)
	return v1alpha1.SidecarSummary{
		Injected: int32(len(s.revisions)), Outdated: int32(len(outdated)), OutdatedPods: outdated[:min(len(outdated), maxOutdated)],
	}
}

// handler takes in what the cache tells of pods, and calls for the Mesh's status where it is news.
func (s *sidecars) handler() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	tell := func(news bool, q queue) {
		if news {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKey{Name: v1alpha1.MeshName}}, meshPause)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { tell(s.take(e.Object), q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { tell(s.take(e.ObjectNew), q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { tell(s.drop(e.Object), q) },
	}
}

// injector makes pods run a proxy by what the Mesh says, and of the operator of a revision.
func injector(c client.Reader, image, revision string) webhooks.Injector {
	host := xdsHost(revision)
	return webhooks.Injector{
		Reader: c, Image: image,
		Envoy: func(o sidecar.Options, drainKey string) (sidecar.Envoy, error) {
			return sidecarEnvoy(o, host, drainKey)
		},
		Revision: func(d v1alpha1.SidecarDefaults) (string, error) { return sidecarRevision(d, image, host) },
	}
}

// OwnImage is the image that the operator itself runs, read off its pod, which the environment variables
// POD_NAMESPACE and POD_NAME tell; empty when they tell none.
func OwnImage(ctx context.Context, c client.Reader) (string, error) {
	at := client.ObjectKey{Namespace: os.Getenv("POD_NAMESPACE"), Name: os.Getenv("POD_NAME")}
	if at.Namespace == "" || at.Name == "" {
		return "", nil
	}
	var pod corev1.Pod
	if err := c.Get(ctx, at, &pod); err != nil {
		return "", fmt.Errorf("read the operator's own pod %s: %w", at, err)
	}
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == "operator" })
	if i < 0 {
		return "", fmt.Errorf("the operator's own pod %s has no container named operator: run it with --image", at)
	}
	return pod.Spec.Containers[i].Image, nil
}
