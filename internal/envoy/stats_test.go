package envoy_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"testing"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
)

// A scrape of a sidecar that knows 1,000 Services and calls some of them is small, and it is what
// Prometheus gets: by the proxy's own port, compressed if asked for.
func TestScrapeOfThousandServices(t *testing.T) {
	const services, calls = 1000, 15
	ports := porttest.Free(t, 3+calls)
	own := sample
	own.AdminPort, own.ReadyPort, own.StatsPort = ports[0], ports[1], ports[2]
	config := bootstrap(t, own)
	config.DynamicResources = nil
	config.StatsConfig = envoy.StatsConfig(true)
	config.StaticResources.Clusters = config.StaticResources.Clusters[1:] // the operator
	backend := serve(t, func(http.ResponseWriter, *http.Request) {})
	for i := range services {
		l, c := outboundService(t, i, backend[0])
		if i < calls {
			l.BindToPort, l.Address.GetSocketAddress().Address = nil, "127.0.0.1"
			l.Address.GetSocketAddress().PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: ports[3+i]}
		}
		config.StaticResources.Listeners = append(config.StaticResources.Listeners, l)
		config.StaticResources.Clusters = append(config.StaticResources.Clusters, c)
	}
	run(t, config, 0)
	stats := fmt.Sprintf("http://127.0.0.1:%d%s", own.StatsPort, envoy.StatsPath)
	eventually(t, "the proxy is ready", func() bool {
		return status(fmt.Sprintf("http://127.0.0.1:%d%s", own.ReadyPort, envoy.ReadyPath)) == 200
	})
	for i := range calls {
		if code := status(fmt.Sprintf("http://127.0.0.1:%d/", ports[3+i])); code != 200 {
			t.Fatalf("service %d answered %d", i, code)
		}
	}
	var text []byte
	eventually(t, "all calls are in the scrape", func() bool {
		text = fetch(t, stats, "identity")
		return bytes.Count(text, []byte("envoy_weft_requests_total{")) == calls &&
			bytes.Count(text, []byte(`le="+Inf"`)) == calls
	})
	compressed := fetch(t, stats, "gzip")
	t.Logf("%d services, %d of them called: %d bytes, %d compressed", services, calls, len(text), len(compressed))
	if len(text) > 100_000 {
		t.Errorf("a scrape has %d bytes:\n%.5000s", len(text), text)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := io.ReadAll(unpacked); err != nil || len(compressed) > len(again)/10 {
		t.Errorf("%d bytes are compressed to %d, %v", len(again), len(compressed), err)
	}
}

// outboundService is what a sidecar has for one Service port: a listener that takes no connections of
// its own, and a Cluster.
func outboundService(t *testing.T, i int, at mesh.Endpoint) (*listenerv3.Listener, *clusterv3.Cluster) {
	name := fmt.Sprintf("service/shop/service-%d/80", i)
	c := envoy.Cluster(mesh.Cluster{Name: name, Protocol: mesh.HTTP1})
	c.EdsClusterConfig, c.ClusterDiscoveryType = nil, &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.LoadAssignment = envoy.Endpoints(mesh.Endpoints{Cluster: name, Addresses: []mesh.Endpoint{at}})
	to := envoy.Called{Namespace: "shop", Service: fmt.Sprintf("service-%d", i), Port: 80}
	l := listening(t, 80, manager([]*accesslogv3.AccessLog{envoy.HTTPSignals(envoy.Source, to)}, name))
	l.Name = fmt.Sprintf("outbound/shop/service-%d/80", i)
	l.BindToPort = wrapperspb.Bool(false)
	l.Address.GetSocketAddress().Address = fmt.Sprintf("10.96.%d.%d", i/200, i%200)
	return l, c
}

func fetch(t *testing.T, url, encoding string) []byte {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", encoding)
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 {
		t.Fatalf("GET %s: %d, %v", url, response.StatusCode, err)
	}
	return body
}
