package stories

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weft-mesh/weft/e2e/stage"
)

// told is what a proxy has been told by the operator.
type told struct {
	bytes, listeners, clusters float64
	connected, warming         float64
}

func toldTo(s *stage.Scene, pod corev1.Pod) told {
	now := s.Scrape(pod)
	return told{
		bytes:     now.Sum("envoy_cluster_upstream_cx_rx_bytes_total", stage.Labels{"envoy_cluster_name": "xds"}),
		listeners: now.Sum("envoy_listener_manager_lds_update_success", nil),
		clusters:  now.Sum("envoy_cluster_manager_cds_update_success", nil),
		connected: now.Sum("envoy_control_plane_connected_state", nil),
		warming:   now.Sum("envoy_listener_manager_total_listeners_warming", nil),
	}
}

// TestANewOperatorResendsNothing replaces the operator while sidecars run. The next thing that they
// are told is the next change.
func TestANewOperatorResendsNothing(t *testing.T) {
	s := stage.NewMeshed(t, "resent")
	s.OnThisMachine()
	echo(t, s, "echo", "declared", "{}")
	caller(t, s, "caller", false)
	s.Rollout("echo", "caller")
	undisturbed(s)
	pods := []corev1.Pod{s.Pod("echo"), s.Pod("caller")}
	before := map[string]told{}
	for _, pod := range pods {
		before[pod.Name] = toldTo(s, pod)
	}
	if err := s.Kill(t.Context(), stage.System, stage.Operator, rollout); err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		s.Until(time.Minute, pod.Name+" is connected again", func(context.Context) error {
			if now := toldTo(s, pod); now.connected != 1 {
				return fmt.Errorf("%+v", now)
			}
			return nil
		})
	}
	s.Apply(nobody)
	for _, pod := range pods {
		had := before[pod.Name]
		var now told
		s.Until(time.Minute, pod.Name+" is told the next change", func(context.Context) error {
			if now = toldTo(s, pod); now.listeners == had.listeners || now.warming > 0 {
				return fmt.Errorf("%+v, before %+v", now, had)
			}
			return nil
		})
		t.Logf("%s: told %.0f bytes from its start on, %.0f more by a new operator and a Service of one port", pod.Name, had.bytes, now.bytes-had.bytes)
		if now.listeners != had.listeners+1 || now.clusters > had.clusters+1 {
			t.Errorf("%s: more than one change: before %+v, after %+v", pod.Name, had, now)
		}
		if more := now.bytes - had.bytes; more > had.bytes/10 {
			t.Errorf("%s: %.0f bytes of %.0f are sent again", pod.Name, more, had.bytes)
		}
	}
}

// undisturbed waits until no namespace of an earlier story goes any more.
func undisturbed(s *stage.Scene) {
	s.Until(2*time.Minute, "earlier stories are gone", func(ctx context.Context) error {
		var all corev1.NamespaceList
		if err := s.List(ctx, &all); err != nil {
			return err
		}
		for _, n := range all.Items {
			if n.DeletionTimestamp != nil {
				return fmt.Errorf("namespace %s is there", n.Name)
			}
		}
		return nil
	})
}
