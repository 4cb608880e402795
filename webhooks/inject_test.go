package webhooks

import (
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
	for name, pod := range map[string]*corev1.Pod{"empty": {}, "busy": busy} {
		out := sidecar.Inject(pod, sidecar.Options{}, "weft:test", sidecar.Envoy{}, "REVISION")
		response := patch(pod, out)
		if !response.Allowed || len(response.Patches) == 0 {
			t.Errorf("%s: %+v", name, response)
		}
		for _, p := range response.Patches {
			if p.Operation != "add" {
				t.Errorf("%s: %s %s", name, p.Operation, p.Path)
			}
		}
	}
}

func TestDrainKeysDiffer(t *testing.T) {
	if a, b := drainKey("a"), drainKey("b"); a == b || len(a) != 32 {
		t.Errorf("%s, %s", a, b)
	}
}
