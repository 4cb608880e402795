package envoy

import (
	"fmt"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	gzipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/gzip/compressor/v3"
	commonfaultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	compressorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/compressor/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	healthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/wire"
)

// What the ports of a proxy's own answer to GET.
const (
	ReadyPath = "/ready" // 200 while the proxy serves, 503 once a Gateway's drains; before, no connection
	DrainPath = "/drain" // with the right header: starts draining, and answers when it is over
	StatsPath = "/stats/prometheus"
)

const (
	adminClusterName = "admin"
	adminTimeout     = 10 * time.Second
	luaFilter        = "envoy.filters.http.lua"
	faultFilter      = "envoy.filters.http.fault"
)

// startDrain asks Envoy's admin interface, which takes no GET, to end each connection with its next
// answer, and to keep accepting new ones for the time of --drain-time-s.
const startDrain = `
function envoy_on_request(handle)
  for _, path in ipairs({%s}) do
    handle:httpCall("admin", {[":method"] = "POST", [":path"] = path, [":authority"] = "admin"}, nil, 5000)
  end
end
`

// What of the admin interface drains. A Gateway's proxy reports that it is not ready, too. A sidecar
// does not: a proxy that fails its health check ends every connection, those that its pod opened
// included, while the pod may have work to end.
const (
	drainGateway = `"/healthcheck/fail", "/drain_listeners?graceful&skip_exit"`
	drainSidecar = `"/drain_listeners?inboundonly&graceful&skip_exit"`
)

// adminCluster is Envoy's admin interface. It runs on the main thread, so few may use it at a time.
func adminCluster(port uint32) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 adminClusterName,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(time.Second),
		LoadAssignment:       oneEndpoint(adminClusterName, tcp("127.0.0.1", port)),
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxPendingRequests: wrapperspb.UInt32(8),
			MaxRequests:        wrapperspb.UInt32(8),
		}}},
	}
}

// readyListener is for the kubelet. Any pod can reach it, hence the header without which nobody
// drains a Gateway. It stays open when the proxy refuses clients for want of memory: to take the
// proxy out of service would only move its load to the others.
func readyListener(p Proxy) *listenerv3.Listener {
	var routes []*routev3.Route
	if p.DrainKey != "" {
		routes = append(routes, drainRoute(p))
	}
	manager := ownManager("ready", routes)
	manager.StreamIdleTimeout = durationpb.New(p.Drain + time.Minute)
	manager.HttpFilters = []*hcmv3.HttpFilter{
		ready(), httpFilter(luaFilter, &luav3.Lua{}), httpFilter(faultFilter, &faultv3.HTTPFault{}), router(),
	}
	listener := ownListener("ready", p.ReadyPort, manager)
	listener.BypassOverloadManager = true
	return listener
}

// ready answers on a worker, as clients are served. The main thread, which serves the admin interface,
// is kept busy by thousands of new hostnames for longer than a probe waits. No worker accepts before
// the first configuration is complete.
func ready() *hcmv3.HttpFilter {
	return httpFilter("envoy.filters.http.health_check", &healthv3.HealthCheck{
		PassThroughMode: wrapperspb.Bool(false),
		Headers:         []*routev3.HeaderMatcher{wire.Header(":path", wire.Exactly(ReadyPath)), wire.Header(":method", wire.Exactly("GET"))},
	})
}

func statsListener(p Proxy) *listenerv3.Listener {
	manager := ownManager("stats", []*routev3.Route{adminRoute(StatsPath)})
	manager.HttpFilters = []*hcmv3.HttpFilter{gzip(), router()}
	return ownListener("stats", p.StatsPort, manager)
}

// gzip makes a scrape some twenty times smaller for who accepts that, as Prometheus does.
func gzip() *hcmv3.HttpFilter {
	return httpFilter("envoy.filters.http.compressor", &compressorv3.Compressor{
		CompressorLibrary: &corev3.TypedExtensionConfig{Name: "envoy.compression.gzip.compressor", TypedConfig: wire.Any(&gzipv3.Gzip{})},
	})
}

func ownListener(name string, port uint32, manager *hcmv3.HttpConnectionManager) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:                          name,
		Address:                       anyAddress(port),
		IgnoreGlobalConnLimit:         true,
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(32 << 10),
		FilterChains: []*listenerv3.FilterChain{{
			Filters: []*listenerv3.Filter{networkFilter(manager)},
		}},
	}
}

func ownManager(name string, routes []*routev3.Route) *hcmv3.HttpConnectionManager {
	manager := hardened(name)
	manager.CommonHttpProtocolOptions.IdleTimeout = durationpb.New(time.Minute)
	manager.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
		Name:         name,
		VirtualHosts: []*routev3.VirtualHost{{Name: name, Domains: []string{"*"}, Routes: routes}},
	}}
	return manager
}

func get(path string) *routev3.RouteMatch {
	return &routev3.RouteMatch{
		PathSpecifier: &routev3.RouteMatch_Path{Path: path},
		Headers:       []*routev3.HeaderMatcher{wire.Header(":method", wire.Exactly("GET"))},
	}
}

func adminRoute(path string) *routev3.Route {
	return &routev3.Route{
		Match: get(path),
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: adminClusterName},
			Timeout:          durationpb.New(adminTimeout),
		}},
	}
}

// drainRoute starts draining, then keeps the kubelet from stopping the proxy until it is over.
func drainRoute(p Proxy) *routev3.Route {
	match := get(DrainPath)
	match.Headers = append(match.Headers, wire.Header(p.DrainHeader, wire.Exactly(p.DrainKey)))
	what := drainGateway
	if p.Sidecar {
		what = drainSidecar
	}
	script := &luav3.LuaPerRoute{Override: &luav3.LuaPerRoute_SourceCode{SourceCode: &corev3.DataSource{
		Specifier: &corev3.DataSource_InlineString{InlineString: fmt.Sprintf(startDrain, what)},
	}}}
	return &routev3.Route{
		Match:  match,
		Action: answer(200),
		TypedPerFilterConfig: map[string]*anypb.Any{
			luaFilter:   wire.Any(script),
			faultFilter: wire.Any(delay(p.Drain)),
		},
	}
}

func delay(d time.Duration) *faultv3.HTTPFault {
	return &faultv3.HTTPFault{Delay: &commonfaultv3.FaultDelay{
		FaultDelaySecifier: &commonfaultv3.FaultDelay_FixedDelay{FixedDelay: durationpb.New(max(d, time.Millisecond))},
		Percentage:         &typev3.FractionalPercent{Numerator: 100},
	}}
}
