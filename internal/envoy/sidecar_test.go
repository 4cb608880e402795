package envoy_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/porttest"
)

// What comes in to a draining sidecar is served on connections that end; what its pod asks of others
// goes on as before, and the pod stays ready until Kubernetes takes it out of service.
func TestSidecarDrains(t *testing.T) {
	t.Parallel()
	w := world{endpoints: echoes(t, "a"), hosts: host(t, `[{backendRefs: [{name: a}]}]`)}
	ports := porttest.Free(t, 5)
	own := sample
	own.Sidecar, own.DrainKey, own.Drain = true, drainKey, 0
	own.AdminPort, own.ReadyPort, own.StatsPort = ports[0], ports[1], ports[2]
	config := bootstrap(t, own)
	config.DynamicResources = nil
	config.StaticResources.Clusters = append(config.StaticResources.Clusters[1:], w.static("a", "", w.endpoints["a"])) // without the operator
	for i, direction := range []corev3.TrafficDirection{corev3.TrafficDirection_INBOUND, corev3.TrafficDirection_OUTBOUND} {
		l := w.listener(t, ports[3+i])
		l.Name, l.TrafficDirection = direction.String(), direction
		config.StaticResources.Listeners = append(config.StaticResources.Listeners, l)
	}
	g := run(t, config, time.Minute)
	g.ready = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	eventually(t, "the proxy is ready", func() bool { return status(g.ready+envoy.ReadyPath) == 200 })
	inbound, outbound := fmt.Sprintf("http://127.0.0.1:%d/", ports[3]), fmt.Sprintf("http://127.0.0.1:%d/", ports[4])
	if closes(t, inbound) || closes(t, outbound) {
		t.Fatal("a connection ends before the drain")
	}
	if got, err := drainStatus(t, g, drainKey); got != 200 {
		t.Fatalf("draining: %d, %v", got, err)
	}
	eventually(t, "inbound connections end", func() bool { return closes(t, inbound) })
	if closes(t, outbound) {
		t.Error("an outbound connection ends")
	}
	if got := status(g.ready + envoy.ReadyPath); got != 200 {
		t.Errorf("ready while draining: %d", got)
	}
}

// closes tells whether the answer, which must be good, ends its connection.
func closes(t *testing.T, url string) bool {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, response.Status)
	}
	return response.Close
}

// TestSidecarBootstrap: Envoy takes it as a pod is given it.
func TestSidecarBootstrap(t *testing.T) {
	p := sample
	p.Sidecar = true
	p.TokenSDSPath, p.RootsSDSPath = files(t, "a token", keyPair(t, "authority").Chain)
	b := bootstrap(t, p)
	b.Node = &corev3.Node{Id: "shop/cart-1", Cluster: "shop/cart"} // as the command line says
	envoytest.Validate(t, b)
}
