package webhooks

import (
	"encoding/json"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/internal/sidecar"
)

// TestPatchOnlyAdds: the API server may be newer than this release, and a pod may have fields that this
// release does not know. A patch that replaced what holds them would take them away.
func TestPatchOnlyAdds(t *testing.T) {
	busy := &corev1.Pod{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "first"}, {Name: "second"}},
		Containers:     []corev1.Container{{Name: "app"}},
		Volumes:        []corev1.Volume{{Name: "cache"}},
	}}
	busy.Annotations = map[string]string{"example.com/a": "b"}
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		want []string
	}{
		"empty": {&corev1.Pod{}, []string{"/spec/initContainers", "/spec/volumes", "/metadata/annotations"}},
		"busy": {busy, []string{
			"/spec/initContainers/0", "/spec/initContainers/1", "/spec/volumes/-", "/spec/volumes/-", "/spec/volumes/-",
			"/metadata/annotations/mesh.weft.dev~1injected",
		}},
	} {
		response := patched(c.pod, sidecar.Inject(c.pod, sidecar.Options{}, "weft:test", sidecar.Envoy{}, "REVISION"))
		var operations []addition
		if err := json.Unmarshal(response.Patch, &operations); err != nil || !response.Allowed {
			t.Fatalf("%s: %v in %+v", name, err, response)
		}
		var got []string
		for _, o := range operations {
			got = append(got, o.Path)
			if o.Op != "add" {
				t.Errorf("%s: %s %s", name, o.Op, o.Path)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestEachPodHasItsOwnDrainKey(t *testing.T) {
	if a, b := drainKey("a"), drainKey("b"); a == b || len(a) != 32 {
		t.Errorf("%s, %s", a, b)
	}
}
