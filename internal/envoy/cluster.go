package envoy

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/retry"
	"github.com/weft-mesh/weft/internal/wire"
)

const (
	httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

	connectTimeout = 5 * time.Second
	// Servers close idle HTTP/1.1 connections after as little as 5 s (Node.js, uvicorn, Apache). A
	// request that meets such a close cannot be repeated safely, so Envoy closes first.
	idleHTTP1 = 4 * time.Second

	streamWindow     = 64 << 10 // bytes
	connectionWindow = 1 << 20  // bytes
	bufferLimit      = 256 << 10

	// A copy whose mirror does not read it holds up the request that it is a copy of once so much of it waits,
	// and does so no longer than this.
	mirrorBuffer = 1 << 20
	mirrorStream = 10 * time.Second

	breakerLimit = 100_000 // per cluster and proxy: a guard against runaways, not a policy
)

// Cluster is one Service port: its endpoints come by EDS.
func Cluster(c mesh.Cluster) *clusterv3.Cluster {
	if c.TLS != nil && len(c.TLS.Authorities) == 0 {
		return deadEnd(c.Name)
	}
	out := &clusterv3.Cluster{
		Name:                          c.Name,
		ClusterDiscoveryType:          &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:              &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads()},
		ConnectTimeout:                durationpb.New(connectTimeout),
		LbPolicy:                      clusterv3.Cluster_LEAST_REQUEST,
		CircuitBreakers:               breakers(c.Retries),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
		UpstreamConnectionOptions:     &clusterv3.UpstreamConnectionOptions{TcpKeepalive: keepalive()},
		TransportSocketMatches:        peerSockets(c.Peers.Identities, offer(c)),
	}
	if c.Mirror {
		out.PerConnectionBufferLimitBytes = wrapperspb.UInt32(mirrorBuffer)
	}
	if c.TLS != nil {
		out.TransportSocket = backendSocket(c)
	}
	if c.Endpoints != c.Name {
		out.EdsClusterConfig.ServiceName = c.Endpoints
	}
	if c.Protocol != mesh.TCP && c.Protocol != mesh.TLS {
		out.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpOptions: wire.Any(protocolOptions(c))}
	}
	shapeCluster(out, c.Policies)
	if c.Sessions {
		overServices(out)
	}
	return out
}

// offer is what a Cluster's connections to the mesh offer by ALPN. HTTP/1.1 goes over HTTP/2, unless
// some endpoint is outside the mesh: Envoy speaks one protocol to all endpoints of a Cluster.
func offer(c mesh.Cluster) []string {
	switch {
	case c.Protocol == mesh.TCP:
		return []string{offerTCP}
	case c.Protocol == mesh.HTTP2:
		return []string{offerHTTP2, "h2"}
	case c.Peers.All:
		return []string{offerHTTP1, "h2"}
	}
	return []string{offerHTTP1, "http/1.1"}
}

// keepalive finds a dead peer in 60 + 3 × 10 s. HTTP/2 pings would find it sooner, but gRPC servers
// end connections that ping more often than every 5 minutes.
func keepalive() *corev3.TcpKeepalive {
	return &corev3.TcpKeepalive{
		KeepaliveTime:     wrapperspb.UInt32(60),
		KeepaliveInterval: wrapperspb.UInt32(10),
		KeepaliveProbes:   wrapperspb.UInt32(3),
	}
}

// overServices has a cluster send by weights, and no more than the requests of sessions that are there to
// endpoints that are idle, however few there are of others; whatever policies say of balancing.
func overServices(c *clusterv3.Cluster) {
	c.LbPolicy, c.LbConfig, c.LoadBalancingPolicy = clusterv3.Cluster_ROUND_ROBIN, nil, nil
	c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{
		HealthyPanicThreshold: &typev3.Percent{},
		OverrideHostStatus: &corev3.HealthStatusSet{Statuses: []corev3.HealthStatus{
			corev3.HealthStatus_UNKNOWN, corev3.HealthStatus_HEALTHY, corev3.HealthStatus_DEGRADED, idle,
		}},
	}
}

// idle is the status of endpoints that get requests of sessions only.
const idle = corev3.HealthStatus_DRAINING

// breakers bound the retries that are under way by those requests that are. By Envoy's budget_interval they
// would be bounded by all the requests of an interval, which are so many more that it bounds nothing.
func breakers(retries *mesh.RetryBudget) *clusterv3.CircuitBreakers {
	limit := wrapperspb.UInt32(breakerLimit)
	if retries == nil {
		retries = &mesh.RetryBudget{Percent: mesh.DefaultRetryPercent, Least: mesh.UsualLeastRetries}
	}
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     limit,
		MaxPendingRequests: limit,
		MaxRequests:        limit,
		RetryBudget: &clusterv3.CircuitBreakers_Thresholds_RetryBudget{
			BudgetPercent:       &typev3.Percent{Value: float64(retries.Percent)},
			MinRetryConcurrency: wrapperspb.UInt32(retries.Least),
		},
	}}}
}

// protocolOptions hold the default retry policy. In each virtual host it would be 40 % of the work of
// Envoy's main thread whenever one of them changes.
func protocolOptions(c mesh.Cluster) *upstreamhttpv3.HttpProtocolOptions {
	// Between sidecars a WebSocket is a CONNECT.
	options := spokenTo(c.Protocol == mesh.HTTP2 || c.Peers.All, c.Peers.All)
	if !c.OwnRetries {
		options.RetryPolicy = retry.Unsent() // for the rules that have none of their own
	}
	if c.Mirror {
		if options.CommonHttpProtocolOptions == nil {
			options.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{}
		}
		options.CommonHttpProtocolOptions.MaxStreamDuration = durationpb.New(mirrorStream)
	}
	return options
}

// spokenTo is HTTP/2 or HTTP/1.1, with what each bounds.
func spokenTo(http2, connect bool) *upstreamhttpv3.HttpProtocolOptions {
	explicit := &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{}
	options := &upstreamhttpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit},
	}
	if http2 {
		explicit.ProtocolConfig = &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
				InitialStreamWindowSize:     wrapperspb.UInt32(streamWindow),
				InitialConnectionWindowSize: wrapperspb.UInt32(connectionWindow),
				AllowConnect:                connect,
			},
		}
		return options
	}
	explicit.ProtocolConfig = &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
		HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
	}
	options.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(idleHTTP1)}
	return options
}
