package envoy_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
)

// TestOutliersAreTold: of a backend that fails every other request the log tells by the measure that was asked for,
// and by no other.
func TestOutliersAreTold(t *testing.T) {
	t.Parallel()
	for kind, asked := range map[string]v1alpha1.OutlierDetection{
		"":             {Interval: period("500ms")},
		"SUCCESS_RATE": {Interval: period("500ms"), SuccessRate: &v1alpha1.SuccessRate{Deviations: new(int32(1000)), MinimumRequests: new(int32(10))}},
	} {
		_, at := moods(t, 4)
		var n atomic.Int32
		at = append(at, serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if n.Add(1)%2 == 0 {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})...)
		g := world{policies: outliers(asked), endpoints: map[string][]mesh.Endpoint{"cart": at}, hosts: host(t, `[{backendRefs: [{name: cart}]}]`)}.start(t)
		_, _, stop := load(t, g.url, 32)
		if kind == "" {
			eventually(t, "some intervals have passed", func() bool { return n.Load() > 2000 })
		} else {
			eventually(t, "the log tells of it", func() bool { return g.ejected(kind, at[4]) })
		}
		stop()
		if kind == "" && strings.Contains(g.log.String(), "upstream_url") {
			t.Errorf("the log tells of what nobody asked for:\n%s", g.log)
		}
	}
}
