// Package hosts_test measures in which way the hostnames of a Gateway are best told to Envoy:
// each virtual host as a resource of its own (VHDS), one RouteConfiguration resent whole (RDS),
// or a scope for each hostname (SRDS). The real Envoy gets one more virtual host than the many
// it has.
package hosts_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	upstreams "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/bench/probe"
	"github.com/weft-mesh/weft/bench/process"
	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/porttest"
)

const backendCluster = "service/bench/shop/80"

// BenchmarkNewHost adds one virtual host to those present. It reports the time from the change to
// the first 200, and for each change the bytes that Envoy read and its CPU time.
func BenchmarkNewHost(b *testing.B) {
	for _, w := range ways {
		for _, n := range []int{100, 1000, 5000} {
			b.Run(fmt.Sprintf("%s/%d", w.name, n), func(b *testing.B) { newProxy(b, w, n).measure() })
		}
	}
}

// proxy is an Envoy with n hosts.
type proxy struct {
	*envoytest.Envoy
	b     *testing.B
	way   way
	ads   *ads
	hosts int
	port  int
}

func newProxy(b *testing.B, w way, n int) *proxy {
	p := &proxy{b: b, way: w, ads: newADS(b), hosts: n, port: int(porttest.Free(b, 1)[0])}
	l, err := front(p.port, w.listener)
	if err != nil {
		b.Fatal(err)
	}
	p.ads.put(l.Name, l)
	w.serve(p.ads, n)
	p.Envoy = envoytest.Start(b, p.bootstrap())
	p.Until("every host answers", func() bool {
		return p.Get(p.port, domain(0), "/") == "200 ok" && p.Get(p.port, domain(n-1), "/") == "200 ok"
	})
	return p
}

func (p *proxy) measure() {
	var took []time.Duration
	for p.b.Loop() {
		took = append(took, p.untilServed())
	}
	slices.Sort(took)
	bytes, cpu := p.cost(10)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
	p.b.ReportMetric(0, "ns/op")
	p.b.ReportMetric(ms(took[0]), "min-ms")
	p.b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
	p.b.ReportMetric(ms(took[len(took)-1]), "max-ms")
	p.b.ReportMetric(bytes, "B/change")
	p.b.ReportMetric(cpu*1e3, "envoy-cpu-ms/change")
	usage, err := process.Of(p.PID())
	if err != nil {
		p.b.Fatal(err)
	}
	p.b.ReportMetric(usage.ResidentMB, "envoy-MB")
}

// untilServed adds a host and returns the time until it answers 200.
func (p *proxy) untilServed() time.Duration {
	c, err := probe.Dial(fmt.Sprintf("127.0.0.1:%d", p.port), domain(p.hosts), "/")
	if err != nil {
		p.b.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	p.way.add(p.ads, p.hosts)
	p.hosts++
	if err := c.Until(p.b.Context(), http.StatusOK, http.StatusNotFound); err != nil {
		p.b.Fatal(err)
	}
	return time.Since(start)
}

// cost adds hosts one by one without asking for them, and returns the bytes that Envoy read and
// the CPU seconds that it used for each.
func (p *proxy) cost(changes int) (bytes, cpu float64) {
	before, err := process.Of(p.PID())
	if err != nil {
		p.b.Fatal(err)
	}
	read := p.Counter("cluster.xds.upstream_cx_rx_bytes_total")
	for range changes {
		nonce := p.way.add(p.ads, p.hosts)
		p.hosts++
		p.Until("the change is acknowledged", func() bool { return p.ads.took(nonce) })
	}
	after, err := process.Of(p.PID())
	if err != nil {
		p.b.Fatal(err)
	}
	read = p.Counter("cluster.xds.upstream_cx_rx_bytes_total") - read
	return float64(read) / float64(changes), (after.CPUSeconds - before.CPUSeconds) / float64(changes)
}

func (p *proxy) bootstrap() *bootstrap.Bootstrap {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.b.Fatal(err)
	}
	server := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(server, p.ads)
	go server.Serve(l)
	p.b.Cleanup(server.Stop)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	p.b.Cleanup(backend.Close)
	xds := static("xds", l)
	xds.TypedExtensionProtocolOptions = map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2(p.b)}
	weft := own(p.b)
	return &bootstrap.Bootstrap{
		StatsConfig:     weft.StatsConfig,
		LayeredRuntime:  weft.LayeredRuntime,
		Node:            &core.Node{Id: "bench", Cluster: "bench"},
		StaticResources: &bootstrap.Bootstrap_StaticResources{Clusters: []*cluster.Cluster{xds, static(backendCluster, backend.Listener)}},
		DynamicResources: &bootstrap.Bootstrap_DynamicResources{
			LdsConfig: &core.ConfigSource{ResourceApiVersion: core.ApiVersion_V3, ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}}},
			AdsConfig: &core.ApiConfigSource{ApiType: core.ApiConfigSource_DELTA_GRPC, TransportApiVersion: core.ApiVersion_V3,
				GrpcServices: []*core.GrpcService{{TargetSpecifier: &core.GrpcService_EnvoyGrpc_{EnvoyGrpc: &core.GrpcService_EnvoyGrpc{ClusterName: "xds"}}}}},
		},
	}
}

// own is the bootstrap of a Gateway's proxy.
func own(tb testing.TB) *bootstrap.Bootstrap {
	text, err := envoy.Bootstrap(envoy.Proxy{XDSAddress: "127.0.0.1:1"})
	if err != nil {
		tb.Fatal(err)
	}
	b := &bootstrap.Bootstrap{}
	if err := protojson.Unmarshal(text, b); err != nil {
		tb.Fatal(err)
	}
	return b
}

func http2(tb testing.TB) *anypb.Any {
	packed, err := anypb.New(&upstreams.HttpProtocolOptions{UpstreamProtocolOptions: &upstreams.HttpProtocolOptions_ExplicitHttpConfig_{
		ExplicitHttpConfig: &upstreams.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &upstreams.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &core.Http2ProtocolOptions{}}}}})
	if err != nil {
		tb.Fatal(err)
	}
	return packed
}

func static(name string, at net.Listener) *cluster.Cluster {
	return &cluster.Cluster{Name: name, ConnectTimeout: durationpb.New(time.Second), LoadAssignment: &endpoint.ClusterLoadAssignment{
		ClusterName: name, Endpoints: []*endpoint.LocalityLbEndpoints{{LbEndpoints: []*endpoint.LbEndpoint{{
			HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: socket(at.Addr().(*net.TCPAddr).Port)}}}}}}}}
}
