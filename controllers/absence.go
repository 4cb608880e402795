package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// absenceGrace is how long a change of root waits for a proxy that runs but is not connected: long
// enough for all of them to come back after the operator was restarted.
const absenceGrace = 5 * time.Minute

// absence remembers since when running proxies have not been connected.
type absence map[string]time.Time

// behind names the proxies that have not acknowledged all that they were told, in order, and those
// that run and are not connected, unless they have not been for long.
func (t *Trust) behind(ctx context.Context) ([]string, error) {
	proxies := t.Proxies()
	var pods corev1.PodList
	if err := t.List(ctx, &pods, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var out []string
	for name, acknowledged := range proxies {
		if !acknowledged {
			out = append(out, name)
		}
	}
	var running []string
	for i := range pods.Items {
		if hasProxy(&pods.Items[i]) {
			running = append(running, keyOf(&pods.Items[i]))
		}
	}
	var absent []string
	t.absent, absent = t.absent.next(running, proxies, time.Now())
	out = append(out, absent...)
	slices.Sort(out)
	return out, nil
}

// hasProxy says whether a pod runs a proxy that uses the mesh's roots.
func hasProxy(p *corev1.Pod) bool {
	ofGateway := p.Labels[gateway.ManagedByLabel] == gateway.ManagedBy && p.Labels[gwv1.GatewayNameLabelKey] != ""
	return p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp.IsZero() && (ofGateway || sidecar.Meshed(p))
}

// next are the running proxies that are not connected, and which of them to wait for.
func (a absence) next(running []string, connected map[string]bool, now time.Time) (absence, []string) {
	next := absence{}
	var wait []string
	for _, name := range running {
		if _, is := connected[name]; is {
			continue
		}
		since, known := a[name]
		if !known {
			since = now
		}
		if next[name] = since; now.Sub(since) < absenceGrace {
			wait = append(wait, name)
		}
	}
	return next, wait
}
