package envoy

import (
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	inspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// sniffTimeout is how long a port that declares nothing waits for the client's first bytes. A client
// that waits for the server's is silent for so long, and then taken for TCP.
const sniffTimeout = 200 * time.Millisecond

// Protocols that the HTTP inspector finds.
var (
	foundHTTP1 = []string{"http/1.1", "http/1.0"}
	foundHTTP2 = []string{"h2c"}
)

// ServiceListener is one Service port as the app calls it. It is never listened on: Outbound hands
// it the connections that were meant for its addresses.
func ServiceListener(s mesh.ServiceListener) *listenerv3.Listener {
	l := &listenerv3.Listener{
		Name:                          s.Name,
		BindToPort:                    wrapperspb.Bool(false),
		TrafficDirection:              corev3.TrafficDirection_OUTBOUND,
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
	}
	for i, address := range s.Addresses {
		if i == 0 {
			l.Address = tcp(address, s.Port)
			continue
		}
		l.AdditionalAddresses = append(l.AdditionalAddresses, &listenerv3.AdditionalAddress{Address: tcp(address, s.Port)})
	}
	bytes := toCluster(s.Cluster, source, calledBy(s), s.Telemetry)
	if s.Split != "" {
		bytes = splitNamed(s.Split)
	}
	switch {
	case s.Protocol.HTTP():
		l.FilterChains = []*listenerv3.FilterChain{{Filters: toServices(s, s.Name)}}
	case s.Protocol == mesh.Undeclared:
		sniff(l)
		l.FilterChains = []*listenerv3.FilterChain{
			{Name: "http2", FilterChainMatch: spoken(foundHTTP2), Filters: toServices(s, s.OverHTTP2Routes())},
			{Name: "http1", FilterChainMatch: spoken(foundHTTP1), Filters: toServices(s, s.Name)},
		}
		l.DefaultFilterChain = &listenerv3.FilterChain{Name: "tcp", Filters: []*listenerv3.Filter{bytes}}
	default:
		l.FilterChains = []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{bytes}}}
	}
	return l
}

// sniff looks at a connection's first bytes.
func sniff(l *listenerv3.Listener) {
	l.ListenerFilters = append(l.ListenerFilters, listenerFilter("envoy.filters.listener.http_inspector", &inspectorv3.HttpInspector{}))
	l.ListenerFiltersTimeout = durationpb.New(sniffTimeout)
	l.ContinueOnListenerFiltersTimeout = true
}

func spoken(protocols []string) *listenerv3.FilterChainMatch {
	return &listenerv3.FilterChainMatch{ApplicationProtocols: protocols}
}

// toServices serves the app's own requests, of which it knows whose they are.
func toServices(s mesh.ServiceListener, routes string) []*listenerv3.Filter {
	m := between("outbound")
	m.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: adsUntilAnswered(), RouteConfigName: routes}}
	m.HttpFilters = routeFilters(room.Service, shared{s.Name, s.Shared, s.Counted, s.Apart})
	m.AccessLog = routeLogs(s.Telemetry, calledBy(s), s.Shared)
	return []*listenerv3.Filter{callerKnown, networkFilter(m)}
}

// callerKnown keeps whose the sidecar is with each connection: the Routes of some rules ask for it.
var callerKnown = &listenerv3.Filter{
	Name: "envoy.filters.network.set_filter_state",
	ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: wire.Any(&setfilterstatev3.Config{
		OnNewConnection: []*filterstatev3.FilterStateValue{room.State(room.CallerState, room.Caller)},
	})},
}

// between is what every HTTP port of a sidecar has in common. It adds nothing to what apps say of
// themselves: neither side of a call is a client from outside.
func between(statPrefix string) *hcmv3.HttpConnectionManager {
	m := hardened(statPrefix)
	m.UseRemoteAddress = wrapperspb.Bool(false)
	m.SkipXffAppend = true
	m.PreserveExternalRequestId = true // both sides of a call sample by it
	m.HttpProtocolOptions = &corev3.Http1ProtocolOptions{AcceptHttp_10: true}
	m.Http2ProtocolOptions.MaxConcurrentStreams = wrapperspb.UInt32(maxPeerStreams)
	m.Http2ProtocolOptions.AllowConnect = true
	m.UpgradeConfigs = []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}}
	return m
}

// maxPeerStreams is how many requests share one connection between two sidecars.
const maxPeerStreams = 1024

// ServiceRoutes are the routes of one Service port, which its addresses choose, not the Host header.
func ServiceRoutes(v mesh.VirtualHost) *routev3.RouteConfiguration {
	host := VirtualHost(v)
	host.Name = "service"
	return &routev3.RouteConfiguration{
		Name:                    v.Routes,
		VirtualHosts:            []*routev3.VirtualHost{host},
		ValidateClusters:        wrapperspb.Bool(false),
		ResponseHeadersToRemove: []string{unsentHeader},
	}
}

// calledBy is the Service port of a listener.
func calledBy(s mesh.ServiceListener) called { return serviceCalled(s.Service, s.Port) }

// serviceCalled is a port of a Service by its key.
func serviceCalled(service string, port uint32) called {
	namespace, name, _ := strings.Cut(service, "/")
	return called{namespace, name, port}
}
