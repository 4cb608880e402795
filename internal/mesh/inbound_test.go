package mesh

import (
	"slices"
	"testing"

	"github.com/weft-mesh/weft/internal/sidecar"
)

// TestOtherPorts: those that the pods name or have probed and no Service declares, each once.
func TestOtherPorts(t *testing.T) {
	pods := template{
		Ports:  map[string]int32{"http": 8080, "metrics": 9102, "admin": 9000},
		Probes: []sidecar.Probe{{Port: 7000, Kind: sidecar.TCP}, {Port: 8080, Kind: sidecar.HTTP}, {Port: 9102, Kind: sidecar.HTTP}},
	}
	if got := pods.others(map[int32]InboundPort{8080: {}, 9000: {}}); !slices.Equal(got, []int32{7000, 9102}) {
		t.Errorf("%v", got)
	}
}
