package envoy

import (
	"maps"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accessdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	celfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/wire"
)

const defaultSample = 1 // percent

// httpLogs write lines of JSON to stdout. An error is a status of 500 or more, a flag that says that
// the proxy, not an app, is why, or made a fault, or a denial by a policy that this proxy enforces or tries
// out. A request that no route takes is none: a scanner would fill the disk. The runtime key
// weft.log_status, 0 to log every request, moves the threshold. More fields come in the place of those of
// the same name.
func httpLogs(r reporter, t v1alpha1.Telemetry, more ...map[string]string) []*accesslogv3.AccessLog {
	if r == source {
		return requestLogs(r, t, false, nil, more...)
	}
	return requestLogs(r, t, true, inTrial(denied, nil), more...)
}

// requestLogs are those of a proxy that decides by policies who is let in, or does not. What policies in Shadow
// would have refused, of which tried is true, is an error too; nil: none is tried out.
func requestLogs(r reporter, t v1alpha1.Telemetry, decides bool, tried *accesslogv3.AccessLogFilter, more ...map[string]string) []*accesslogv3.AccessLog {
	status := &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
		StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
			Op:    accesslogv3.ComparisonFilter_GE,
			Value: &corev3.RuntimeUInt32{DefaultValue: 500, RuntimeKey: "weft.log_status"},
		}},
	}}
	errors := []*accesslogv3.AccessLogFilter{status, flagged("UF", "UC", "UT", "UH", "UO", "URX", "FI", "DI")}
	fields := []map[string]string{r.identities(), httpFields}
	if decides {
		errors = append(errors, ofMetadata("enforced_engine_result", denied), denial())
		fields = append(fields, enforced)
	}
	if tried != nil {
		errors, fields = append(errors, tried), append(fields, shadow)
	}
	return written(wanted(t, errors), append(fields, more...)...)
}

// tcpLogs are the same for connections, of which each has one line, when it ends. One that a policy refuses
// leads nowhere, which is an error.
func tcpLogs(r reporter, t v1alpha1.Telemetry, more ...map[string]string) []*accesslogv3.AccessLog {
	if r == source {
		return connectionLogs(r, t, nil, more...)
	}
	return connectionLogs(r, t, bytesInTrial(denied, nil), more...)
}

// connectionLogs are to these what requestLogs are to those of requests.
func connectionLogs(r reporter, t v1alpha1.Telemetry, tried *accesslogv3.AccessLogFilter, more ...map[string]string) []*accesslogv3.AccessLog {
	errors := []*accesslogv3.AccessLogFilter{flagged("UF", "UC", "UH", "UO", "URX", "NC")}
	if r == destination {
		errors = append(errors, deniedConnection())
	}
	if tried != nil {
		errors = append(errors, tried)
	}
	which := wanted(t, errors)
	if which == nil {
		return nil
	}
	both := allOf(logTypes(accessdatav3.AccessLogType_TcpConnectionEnd), which)
	fields := []map[string]string{r.identities(), tcpFields}
	if r != source {
		fields = append(fields, letIn)
	}
	if tried != nil {
		fields = append(fields, shadowOfBytes)
	}
	return written(both, append(fields, more...)...)
}

// wanted is nil where nothing is.
func wanted(t v1alpha1.Telemetry, errors []*accesslogv3.AccessLogFilter) *accesslogv3.AccessLogFilter {
	switch t.AccessLogs {
	case v1alpha1.AccessLogOff:
		return nil
	case v1alpha1.AccessLogSampled:
		errors = append(errors, sampled(uint32(orElse(t.SamplePercent, defaultSample))))
	}
	if len(errors) == 1 {
		return errors[0] // of one Envoy makes no OR
	}
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_OrFilter{
		OrFilter: &accesslogv3.OrFilter{Filters: errors},
	}}
}

// sampled goes by the request's ID, so that all proxies on its way log it or none does.
func sampled(percent uint32) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_RuntimeFilter{
		RuntimeFilter: &accesslogv3.RuntimeFilter{
			RuntimeKey:     "weft.log_percent",
			PercentSampled: &typev3.FractionalPercent{Numerator: percent},
		},
	}}
}

func flagged(flags ...string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
		ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: flags},
	}}
}

// deniedConnection goes by the details, as Envoy's RBAC filter for connections has no more to say.
func deniedConnection() *accesslogv3.AccessLogFilter {
	return expression("connection.termination_details.startsWith('rbac_access_denied')")
}

// expression is one of CEL.
func expression(text string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{
			Name:       "envoy.access_loggers.extension_filters.cel",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: wire.Any(&celfilterv3.ExpressionFilter{Expression: text})},
		},
	}}
}

// allOf is a filter and, unless it is nil, another one.
func allOf(one, other *accesslogv3.AccessLogFilter) *accesslogv3.AccessLogFilter {
	if other == nil {
		return one // of one Envoy makes no AND
	}
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{
		AndFilter: &accesslogv3.AndFilter{Filters: []*accesslogv3.AccessLogFilter{one, other}},
	}}
}

// identities are those that mTLS proved.
func (r reporter) identities() map[string]string {
	fields := map[string]string{
		"reporter":              string(r),
		"source_principal":      "%DOWNSTREAM_PEER_URI_SAN%",
		"destination_principal": "%DOWNSTREAM_LOCAL_URI_SAN%",
		"tls_version":           r.tls(),
	}
	if r == source {
		fields["source_principal"] = "%UPSTREAM_LOCAL_URI_SAN%"
		fields["destination_principal"] = "%UPSTREAM_PEER_URI_SAN%"
	}
	return fields
}

// enforced is the policy that decided. A request that no deny rule matched names none.
var enforced = map[string]string{
	"policy":        "%DYNAMIC_METADATA(" + wire.RBAC + ":enforced_effective_policy_id)%",
	"policy_result": "%DYNAMIC_METADATA(" + wire.RBAC + ":enforced_engine_result)%",
	"opa_policy":    "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:policy)%",
	"opa_rule":      "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:rule)%",
}

// letIn is the policy that decided on a connection.
var letIn = map[string]string{
	"policy":        "%FILTER_STATE(" + policyState + ":PLAIN)%",
	"policy_result": "%FILTER_STATE(" + verdictState + ":PLAIN)%",
}

// shadow is the policy in Shadow that would have decided.
var shadow = map[string]string{
	"shadow_section": shadowed("section_" + policyField),
	"shadow_policy":  shadowed(policyField),
	"shadow_rule":    shadowed("rule_" + policyField),
	"shadow_result":  shadowed(resultField),
}

var httpFields = map[string]string{
	"method":     "%REQ(:METHOD)%",
	"host":       "%REQ(:AUTHORITY)%",
	"path":       "%PATH(NQ)%",
	"protocol":   "%PROTOCOL%",
	"status":     "%RESPONSE_CODE%",
	"grpc":       "%GRPC_STATUS%",
	"details":    "%RESPONSE_CODE_DETAILS%",
	"route":      "%ROUTE_NAME%",
	"attempts":   "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
	"request_id": "%REQ(X-REQUEST-ID)%",
	"trace_id":   "%TRACE_ID%",
	// Where Weft traces nothing itself, the app's own context tells the trace.
	"traceparent": "%REQ(TRACEPARENT)%",
}

var tcpFields = map[string]string{
	"protocol": "TCP",
	"details":  "%CONNECTION_TERMINATION_DETAILS%",
}

var commonFields = map[string]string{
	"time":             "%START_TIME%",
	"flags":            "%RESPONSE_FLAGS%",
	"cluster":          "%UPSTREAM_CLUSTER%",
	"upstream":         "%UPSTREAM_HOST%",
	"upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
	"client":           "%DOWNSTREAM_REMOTE_ADDRESS%",
	"destination":      "%DOWNSTREAM_LOCAL_ADDRESS%",
	"bytes_received":   "%BYTES_RECEIVED%",
	"bytes_sent":       "%BYTES_SENT%",
	"duration_ms":      "%DURATION%",
}

// written leaves out query strings and headers that may carry credentials, and what is empty.
func written(which *accesslogv3.AccessLogFilter, more ...map[string]string) []*accesslogv3.AccessLog {
	if which == nil {
		return nil
	}
	fields := maps.Clone(commonFields)
	for _, f := range more {
		maps.Copy(fields, f)
	}
	format := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	maps.DeleteFunc(fields, func(_, command string) bool { return command == "" })
	for name, command := range fields {
		format.Fields[name] = structpb.NewStringValue(command)
	}
	return []*accesslogv3.AccessLog{{
		Name:   "envoy.access_loggers.stdout",
		Filter: which,
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: wire.Any(&streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
				Format:          &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: format},
				OmitEmptyValues: true,
			}},
		})},
	}}
}
