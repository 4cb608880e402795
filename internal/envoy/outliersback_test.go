package envoy_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// TestOutliersComeBack: a backend that was left out gets its whole share at once.
func TestOutliersComeBack(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"without health checks": "", "that passed its health checks": "/well"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			comesBack(t, path)
		})
	}
}

func comesBack(t *testing.T, path string) {
	t.Helper()
	backends, at := moods(t, 4)
	policies := []room.Decided{{Section: "loadBalancing", Policy: "shop/slow", Says: &v1alpha1.LoadBalancing{Algorithm: "RoundRobin", SlowStart: &v1alpha1.SlowStart{Window: "10s"}}}}
	policies = append(policies, outliers(v1alpha1.OutlierDetection{Interval: period("200ms"), BaseEjectionTime: period("2s")})...)
	if path != "" {
		policies = append(policies, room.Decided{Section: "healthCheck", Policy: "shop/checks", Says: &v1alpha1.HealthCheck{HTTP: &v1alpha1.HTTPHealthCheck{Path: path}, Interval: period("200ms")}})
	}
	g := world{policies: policies, endpoints: map[string][]mesh.Endpoint{"cart": at}, hosts: host(t, `[{backendRefs: [{name: cart}]}]`)}.start(t)
	load(t, g.url, 4)
	share := func() float64 { // of what another one gets
		first, other := backends[0].asked.Load(), backends[1].asked.Load()
		eventually(t, "the other one is asked", func() bool { return backends[1].asked.Load() >= other+200 })
		return float64(backends[0].asked.Load()-first) / float64(backends[1].asked.Load()-other)
	}
	out := func() bool {
		return g.scraped("envoy_cluster_outlier_detection_ejections_active", "envoy_cluster_name", "cart")
	}
	time.Sleep(11 * time.Second) // until none is new
	backends[0].status.Store(http.StatusInternalServerError)
	eventually(t, "it is left out", out)
	backends[0].status.Store(0)
	eventually(t, "it is back", func() bool { return !out() && !backends[0].rests() })
	if got := share(); got < 0.7 {
		t.Errorf("it gets %.2f of what another one does", got)
	}
}
