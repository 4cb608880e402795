package controllers

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/internal/sidecar"
)

// TestAbsence: after a restart of the operator no proxy is connected, and none is forgotten; one that
// never comes back does not hold up a change for ever.
func TestAbsence(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	pods := []string{"shop/a", "shop/b"}
	connected := map[string]bool{"shop/b": false} // whether it acknowledged is no matter here
	var a absence
	for _, step := range []struct {
		after     time.Duration
		connected map[string]bool
		wait      []string
	}{
		{0, nil, pods},
		{absenceGrace - 1, connected, []string{"shop/a"}},
		{absenceGrace, connected, nil},
		{absenceGrace + 1, nil, []string{"shop/b"}},
		{absenceGrace + 2, map[string]bool{"shop/a": true, "shop/b": true}, nil},
		{2 * absenceGrace, nil, pods},
	} {
		var wait []string
		if a, wait = a.next(pods, step.connected, start.Add(step.after)); !slices.Equal(wait, step.wait) {
			t.Errorf("after %s it waits for %v instead of %v", step.after, wait, step.wait)
		}
	}
	if a, _ = a.next(nil, nil, start); len(a) != 0 {
		t.Errorf("of pods that are gone it remembers %v", a)
	}
}

func TestHasProxy(t *testing.T) {
	pod := func(phase corev1.PodPhase, labels map[string]string, containers ...string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Status: corev1.PodStatus{Phase: phase}}
		for _, name := range containers {
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: name})
		}
		return p
	}
	ofGateway := map[string]string{"app.kubernetes.io/managed-by": "weft", "gateway.networking.k8s.io/gateway-name": "edge"}
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"a sidecar":            {pod(corev1.PodRunning, nil, sidecar.ProxyContainer), true},
		"a Gateway's":          {pod(corev1.PodRunning, ofGateway), true},
		"one that ended":       {pod(corev1.PodSucceeded, nil, sidecar.ProxyContainer), false},
		"one that starts":      {pod(corev1.PodPending, nil, sidecar.ProxyContainer), false},
		"another's Gateway":    {pod(corev1.PodRunning, map[string]string{"gateway.networking.k8s.io/gateway-name": "edge"}), false},
		"one outside the mesh": {pod(corev1.PodRunning, nil, "setup"), false},
	} {
		if hasProxy(c.pod) != c.want {
			t.Error(name)
		}
	}
}
