package envoy

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// failureLog writes a line of JSON to stdout for each request that failed: a status of 500 or more, or
// a flag that says that the proxy, not a backend, is why. A request that no route takes is left out: a
// scanner would fill the disk. The runtime key weft.log_status, 0 to log every request, moves the
// threshold.
func failureLog() []*accesslogv3.AccessLog {
	status := &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
		StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
			Op:    accesslogv3.ComparisonFilter_GE,
			Value: &corev3.RuntimeUInt32{DefaultValue: 500, RuntimeKey: "weft.log_status"},
		}},
	}}
	flags := &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
		ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: []string{"UF", "UC", "UT", "UH", "UO", "URX"}},
	}}
	return []*accesslogv3.AccessLog{{
		Name: "envoy.access_loggers.stdout",
		Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_OrFilter{
			OrFilter: &accesslogv3.OrFilter{Filters: []*accesslogv3.AccessLogFilter{status, flags}},
		}},
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: typed(&streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: logFormat()},
		})},
	}}
}

// logFormat leaves out query strings and headers that may carry credentials.
func logFormat() *corev3.SubstitutionFormatString {
	fields := map[string]string{
		"time":             "%START_TIME%",
		"method":           "%REQ(:METHOD)%",
		"host":             "%REQ(:AUTHORITY)%",
		"path":             "%PATH(NQ)%",
		"protocol":         "%PROTOCOL%",
		"status":           "%RESPONSE_CODE%",
		"flags":            "%RESPONSE_FLAGS%",
		"details":          "%RESPONSE_CODE_DETAILS%",
		"route":            "%ROUTE_NAME%",
		"cluster":          "%UPSTREAM_CLUSTER%",
		"upstream":         "%UPSTREAM_HOST%",
		"upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
		"attempts":         "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
		"client":           "%DOWNSTREAM_REMOTE_ADDRESS%",
		"request_id":       "%REQ(X-REQUEST-ID)%",
		"bytes_received":   "%BYTES_RECEIVED%",
		"bytes_sent":       "%BYTES_SENT%",
		"duration_ms":      "%DURATION%",
	}
	format := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for name, command := range fields {
		format.Fields[name] = structpb.NewStringValue(command)
	}
	return &corev3.SubstitutionFormatString{
		Format:          &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: format},
		OmitEmptyValues: true,
	}
}
