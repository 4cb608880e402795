package envoy

import (
	"fmt"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	sessionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// The limits of one client's connection.
const (
	headersTimeout    = 10 * time.Second // from a request's first byte to its last header
	streamIdleTimeout = 5 * time.Minute
	connectionIdle    = time.Hour
	delayedClose      = time.Second // for the client to read the last answer
	maxStreams        = 100
	maxHeadersKB      = 60
)

// connectionManager serves HTTP to clients that are not trusted.
func connectionManager(l mesh.Listener, c mesh.Chain) *hcmv3.HttpConnectionManager {
	m := hardened(fmt.Sprintf("port_%d", l.Port))
	m.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
		ConfigSource:    adsUntilAnswered(),
		RouteConfigName: c.Routes,
	}}
	m.HttpFilters = routeFilters(room.Gateway, shared{c.Routes, c.Shared, c.Counted, c.Apart})
	m.UpgradeConfigs = []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}}
	m.LocalReplyConfig = ownReplies()
	m.AccessLog = append(gatewayLogs(l.Telemetry, c.Shared), decisionLogs(l.Decisions, nil)...)
	return m
}

// nowhere is no client's address. Without a range Envoy would take private addresses for internal.
var nowhere = &hcmv3.HttpConnectionManager_InternalAddressConfig{
	CidrRanges: []*corev3.CidrRange{{AddressPrefix: "255.255.255.255", PrefixLen: wrapperspb.UInt32(32)}},
}

// hardened is what every HTTP port refuses and bounds. A client's X-Forwarded-For is kept as a claim
// but not believed, and none counts as internal, so that x-envoy-* request headers have no effect.
func hardened(statPrefix string) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix:                   statPrefix,
		ServerHeaderTransformation:   hcmv3.HttpConnectionManager_PASS_THROUGH,
		UseRemoteAddress:             wrapperspb.Bool(true),
		InternalAddressConfig:        nowhere,
		NormalizePath:                wrapperspb.Bool(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_REJECT_REQUEST,
		StripTrailingHostDot:         true,
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout:                  durationpb.New(connectionIdle),
			HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_REJECT_REQUEST,
		},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			MaxConcurrentStreams:        wrapperspb.UInt32(maxStreams),
			InitialStreamWindowSize:     wrapperspb.UInt32(streamWindow),
			InitialConnectionWindowSize: wrapperspb.UInt32(connectionWindow),
		},
		MaxRequestHeadersKb:   wrapperspb.UInt32(maxHeadersKB),
		RequestHeadersTimeout: durationpb.New(headersTimeout),
		StreamIdleTimeout:     durationpb.New(streamIdleTimeout),
		DelayedCloseTimeout:   durationpb.New(delayedClose),
	}
}

// routeFilters are those of a port, of a Gateway or of a Service, that has routes: what each does is the routes'
// to say.
func routeFilters(of room.Kind, at shared) []*hcmv3.HttpFilter {
	first := []*hcmv3.HttpFilter{
		room.Place(identifyPlace),
		narrowPlace(),
		httpFilter(corsFilter, &corsv3.Cors{}),
	}
	if of == room.Gateway {
		first = append(first, room.Place(loginPlace), room.Place(guardPlace), asked())
	}
	return append(append(append(first, authPlace()), sectionFilters(of, at)...),
		httpFilter(sessionFilter, &sessionv3.StatefulSession{}),
		router(),
	)
}

// routeLogs are those of such a port, where some sections share filters.
func routeLogs(t v1alpha1.Telemetry, to called, shared []string) []*accesslogv3.AccessLog {
	return withShared(append(httpLogs(source, t), httpSignals(source, to)), to, shared)
}

// gatewayLogs are those of a Gateway's port, which has guards.
func gatewayLogs(t v1alpha1.Telemetry, shared []string) []*accesslogv3.AccessLog {
	guards := guardTrial(source, "%UPSTREAM_LOCAL_URI_SAN%")
	logs := append(requestLogs(source, t, true, inTrial(denied, nil)), httpSignals(source, called{}))
	return withShared(append(logs, guards.requestOutcomes(called{})...), called{}, shared)
}

func withShared(out []*accesslogv3.AccessLog, to called, shared []string) []*accesslogv3.AccessLog {
	for _, section := range shared {
		out = append(out, turnedAway(source, to, section))
	}
	return out
}

func httpFilter(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: wire.Any(config)}}
}

// router adds no x-envoy-* headers of its own to requests or answers.
func router() *hcmv3.HttpFilter {
	return httpFilter("envoy.filters.http.router", &routerv3.Router{SuppressEnvoyHeaders: true})
}
