package controllers

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// ofRevision gives a pod a proxy of that revision.
func ofRevision(revision string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Annotations = map[string]string{sidecar.InjectedAnnotation: revision}
		p.Spec.InitContainers = []corev1.Container{{Name: sidecar.ProxyContainer, Image: "envoy", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}}
	}
}

func TestSidecarsAreCounted(t *testing.T) {
	s := &sidecars{}
	made := func(name, revision string, edits ...func(*corev1.Pod)) *corev1.Pod {
		return podIn("shop", name, append(edits, ofRevision(revision))...)
	}
	over := func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }
	for i, step := range []struct {
		news bool
		pod  *corev1.Pod
	}{
		{true, made("b", "old")}, {true, made("a", "old")}, {true, made("c", "new")}, {false, made("c", "new")},
		{false, podIn("shop", "plain")}, {true, made("job", "old")}, {true, made("job", "old", over)}, {false, made("job", "old", over)},
	} {
		if got := s.take(step.pod); got != step.news {
			t.Errorf("step %d: news %v", i, got)
		}
	}
	if got := s.summary("new"); got.Injected != 3 || got.Outdated != 2 || !slices.Equal(got.OutdatedPods, []string{"shop/a", "shop/b"}) {
		t.Errorf("%+v", got)
	}
	if !s.drop(podIn("shop", "a")) || s.drop(podIn("shop", "a")) {
		t.Error("a pod does not go once")
	}
	for i := range 100 {
		s.take(made(fmt.Sprint("many-", i), "old"))
	}
	if got := s.summary("new"); got.Outdated != 101 || len(got.OutdatedPods) != maxOutdated {
		t.Errorf("%d outdated, %d listed", got.Outdated, len(got.OutdatedPods))
	}
}

// TestMeshTellsOfOutdatedSidecars: those of another revision, until they go or the defaults are such again.
func TestMeshTellsOfOutdatedSidecars(t *testing.T) {
	i := newInstallation(t)
	i.operate()
	current, err := sidecarRevision(v1alpha1.SidecarDefaults{}, "weft:test", xdsHost(""))
	if err != nil {
		t.Fatal(err)
	}
	mesh := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}}
	create(t, i.Client, mesh, podIn("default", "new", ofRevision(current)), podIn("default", "old", ofRevision("another")), podIn("default", "out"))
	i.awaitSidecars(v1alpha1.SidecarSummary{Injected: 2, Outdated: 1, OutdatedPods: []string{"default/old"}})
	if err := i.Delete(t.Context(), podIn("default", "old"), client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	i.awaitSidecars(v1alpha1.SidecarSummary{Injected: 1})
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"sidecars":{"concurrency":4}}}`))
	if err := i.Patch(t.Context(), mesh, patch); err != nil {
		t.Fatal(err)
	}
	i.awaitSidecars(v1alpha1.SidecarSummary{Injected: 1, Outdated: 1, OutdatedPods: []string{"default/new"}})
}

func (i *installation) awaitSidecars(want v1alpha1.SidecarSummary) {
	i.Helper()
	var m v1alpha1.Mesh
	eventually(i.T, "sidecars in the Mesh's status", func(ctx context.Context) bool {
		err := i.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, &m)
		return err == nil && m.Status.Sidecars != nil && equality.Semantic.DeepEqual(*m.Status.Sidecars, want)
	}, func() string { return fmt.Sprintf("%+v; want %+v", m.Status.Sidecars, want) })
}
