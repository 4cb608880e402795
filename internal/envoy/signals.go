package envoy

import (
	"slices"
	"strconv"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	accessdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	statslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	transformv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/actions/transform_stat/v3"
	statsinputv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/stats/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/wire"
)

// reporter is the side of a connection that counts what passes.
type reporter string

const (
	source      reporter = "source"      // the caller's proxy, or a Gateway
	destination reporter = "destination" // the proxy beside the app
)

// called is the Service port that a listener is for. It is empty where a listener is for none: on a
// Gateway, and for a port of a pod that no Service names.
type called struct {
	Namespace, Service string
	Port               uint32
}

// signalPrefix begins the names of all golden signals.
const signalPrefix = "weft"

// What one listener counts at most: to one Service, or from or to any number of workloads. Each has a
// bound of its own, so that an app with a thousand status codes hides no other. Envoy drops what would
// be a further series, and counts how often in envoy_server_stats_overflow_counter and _histogram.
// The text of a counter is some 400 bytes, that of a histogram 5 kB.
const (
	fewCounters, fewHistograms   = 300, 60
	manyCounters, manyHistograms = 4000, 1000
)

// scope is not shared between listeners: with a sharing_name, Envoy 1.40 crashes when it validates a
// configuration. Counters of one name and the same labels are one all the same. Series in which
// nothing happened for evictionInterval go.
func (r reporter) scope(to called) *typev3.Scope {
	counters, histograms := uint32(manyCounters), uint32(manyHistograms)
	if r == source && to != (called{}) {
		counters, histograms = fewCounters, fewHistograms
	}
	return &typev3.Scope{
		Prefix:         signalPrefix,
		MaxCounters:    wrapperspb.UInt32(counters),
		MaxHistograms:  wrapperspb.UInt32(histograms),
		EnableEviction: true,
	}
}

// httpSignals counts requests and how long they took. A request that never reached an upstream is
// counted too; the code is 0 where there was no answer. No label holds what a client may choose freely.
// A logger costs a listener 10 kB of memory; a class of codes made here would cost it 15 kB more, so
// the scrape makes it.
func httpSignals(r reporter, to called) *accesslogv3.AccessLog {
	code := tag("response_code", "%RESPONSE_CODE%")
	return signalLog(nil, &statslogv3.Config{
		StatsScope: r.scope(to),
		Counters: []*statslogv3.Config_Counter{count("requests_total", slices.Concat(r.tags(), to.tags(), []*statslogv3.Config_Tag{
			tag("request_protocol", "%PROTOCOL%"),
			code,
			grpcStatus(),
			tag("response_flags", "%RESPONSE_FLAGS%"),
			tag("tls_version", r.tls()),
		}))},
		Histograms: []*statslogv3.Config_Histogram{{
			Stat: &statslogv3.Config_Stat{
				Name: "request_duration_milliseconds",
				Tags: slices.Concat(r.tags(), to.tags(), []*statslogv3.Config_Tag{code}),
			},
			Unit:        statslogv3.Config_Histogram_Milliseconds,
			ValueFormat: "%DURATION%",
		}},
	})
}

// tcpSignals counts connections, and at the end of each its bytes: Envoy knows no difference since the
// last report. They need tcpLogOptions.
func tcpSignals(r reporter, to called) []*accesslogv3.AccessLog {
	tags := slices.Concat(r.tags(), to.tags(), []*statslogv3.Config_Tag{tag("tls_version", r.tls())})
	ended := slices.Concat(tags, []*statslogv3.Config_Tag{tag("response_flags", "%RESPONSE_FLAGS%")})
	return []*accesslogv3.AccessLog{
		signalLog(logTypes(accessdatav3.AccessLogType_TcpUpstreamConnected), &statslogv3.Config{
			StatsScope: r.scope(to),
			Counters:   []*statslogv3.Config_Counter{count("tcp_connections_opened_total", tags)},
		}),
		signalLog(logTypes(accessdatav3.AccessLogType_TcpConnectionEnd), &statslogv3.Config{
			StatsScope: r.scope(to),
			Counters: []*statslogv3.Config_Counter{
				count("tcp_connections_closed_total", ended),
				sum("tcp_received_bytes_total", "%BYTES_RECEIVED%", tags),
				sum("tcp_sent_bytes_total", "%BYTES_SENT%", tags),
			},
		}),
	}
}

// tcpLogOptions have a connection logged when it is through to the upstream, besides at its end.
func tcpLogOptions() *tcpproxyv3.TcpProxy_TcpAccessLogOptions {
	return &tcpproxyv3.TcpProxy_TcpAccessLogOptions{FlushAccessLogOnConnected: true}
}

// tags are who speaks to whom. The identities are those that mTLS proved, and absent without it.
func (r reporter) tags() []*statslogv3.Config_Tag {
	if r == destination {
		return []*statslogv3.Config_Tag{
			tag("reporter", string(r)),
			tag("source_principal", "%DOWNSTREAM_PEER_URI_SAN%"),
			tag("destination_principal", "%DOWNSTREAM_LOCAL_URI_SAN%"),
		}
	}
	return []*statslogv3.Config_Tag{
		tag("reporter", string(r)),
		tag("source_principal", "%UPSTREAM_LOCAL_URI_SAN%"),
		tag("destination_principal", "%UPSTREAM_PEER_URI_SAN%"),
		tag("upstream_cluster", "%UPSTREAM_CLUSTER%"),
	}
}

func (c called) tags() []*statslogv3.Config_Tag {
	if c == (called{}) {
		return nil
	}
	return []*statslogv3.Config_Tag{
		tag("destination_service_namespace", c.Namespace),
		tag("destination_service_name", c.Service),
		tag("destination_port", strconv.FormatUint(uint64(c.Port), 10)),
	}
}

func (r reporter) tls() string {
	if r == source {
		return "%UPSTREAM_TLS_VERSION%"
	}
	return "%DOWNSTREAM_TLS_VERSION%"
}

func tag(name, format string) *statslogv3.Config_Tag {
	return &statslogv3.Config_Tag{Name: name, ValueFormat: format}
}

// grpcStatus is absent for what is not gRPC. An app may answer with any number, but only those that
// gRPC defines become series.
func grpcStatus() *statslogv3.Config_Tag {
	t := tag("grpc_response_status", "%GRPC_STATUS_NUMBER%")
	t.Rules = &xdsmatcherv3.Matcher{
		MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
			Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
				Predicate: tagValue("[0-9]{3,}|1[7-9]|[2-9][0-9]"),
				OnMatch:   becomes("other"),
			}},
		}},
	}
	return t
}

func tagValue(regex string) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{
		MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
			SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
				Input: &xdscorev3.TypedExtensionConfig{Name: "value", TypedConfig: wire.Any(&statsinputv3.StatTagValueInput{})},
				Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{
					ValueMatch: &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{
						SafeRegex: &xdsmatcherv3.RegexMatcher{
							EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}},
							Regex:      regex,
						},
					}},
				},
			},
		},
	}
}

func becomes(value string) *xdsmatcherv3.Matcher_OnMatch {
	return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
		Action: &xdscorev3.TypedExtensionConfig{Name: "value", TypedConfig: wire.Any(&transformv3.TransformStat{
			UpdateTag: &transformv3.TransformStat_UpdateTag{NewTagValue: value},
		})},
	}}
}

func count(name string, tags []*statslogv3.Config_Tag) *statslogv3.Config_Counter {
	return &statslogv3.Config_Counter{
		Stat:       &statslogv3.Config_Stat{Name: name, Tags: tags},
		ValueFixed: wrapperspb.UInt64(1),
	}
}

func sum(name, format string, tags []*statslogv3.Config_Tag) *statslogv3.Config_Counter {
	return &statslogv3.Config_Counter{
		Stat:        &statslogv3.Config_Stat{Name: name, Tags: tags},
		ValueFormat: format,
	}
}

func signalLog(when *accesslogv3.AccessLogFilter, config *statslogv3.Config) *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{
		Name:       "envoy.access_loggers.stats",
		Filter:     when,
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: wire.Any(config)},
	}
}

func logTypes(types ...accessdatav3.AccessLogType) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_LogTypeFilter{
		LogTypeFilter: &accesslogv3.LogTypeFilter{Types: types},
	}}
}
