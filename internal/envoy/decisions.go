package envoy

import (
	"strings"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	statev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/internal/wire"
)

// What weft authz is told of waits in the proxy for so long, or until it is so much. What does not get away is dropped,
// and counted: no request waits.
const (
	tellEvery  = time.Second
	tellBuffer = 256 << 10
)

// decisionLogs tell weft authz of what this proxy denies, and of what policies in Shadow would have denied, of which
// probes are none; of all that guards let in too where all is wanted.
func decisionLogs(mode v1alpha1.DecisionMode, probes []sidecar.Probe) []*accesslogv3.AccessLog {
	if mode == "" {
		return nil
	}
	which := []*accesslogv3.AccessLogFilter{denial(), inTrial(denied, probes)}
	if mode == v1alpha1.DecisionsAll {
		which = append(which, expression("'"+authz.State+"' in filter_state"))
	}
	return []*accesslogv3.AccessLog{{
		Name:   "envoy.access_loggers.http_grpc",
		Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_OrFilter{OrFilter: &accesslogv3.OrFilter{Filters: which}}},
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: wire.Any(&alsv3.HttpGrpcAccessLogConfig{CommonConfig: &alsv3.CommonGrpcAccessLogConfig{
			LogName:             "decisions",
			TransportApiVersion: corev3.ApiVersion_V3,
			GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
				ClusterName: mesh.Authz, SkipEnvoyHeaders: true,
			}}},
			BufferFlushInterval:     durationpb.New(tellEvery),
			BufferSizeBytes:         wrapperspb.UInt32(tellBuffer),
			FilterStateObjectsToLog: []string{authz.State},
		}})},
	}}
}

// withLaw are filters behind one that notes, before them, what is asked and by which law they decide. Headers that may let
// somebody in are not noted.
func withLaw(law *authz.Law, by []*corev3.TypedExtensionConfig) []*corev3.TypedExtensionConfig {
	if law == nil || len(by) == 0 {
		return by
	}
	headers := map[string]*structpb.Value{}
	for _, name := range law.Headers {
		if !authz.Secret(name) {
			headers[name] = structpb.NewStringValue("%REQ(" + strings.ToUpper(name) + ")%")
		}
	}
	fields := map[string]*structpb.Value{
		"law":    structpb.NewStringValue(strings.ReplaceAll(law.Text(), "%", "%%")),
		"method": structpb.NewStringValue("%REQ(:METHOD)%"),
		"path":   structpb.NewStringValue("%PATH(NQ:PATH)%"),
		"host":   structpb.NewStringValue("%REQ(:AUTHORITY)%"),
	}
	if len(headers) > 0 {
		fields["headers"] = structpb.NewStructValue(&structpb.Struct{Fields: headers})
	}
	note := &filterstatev3.FilterStateValue{
		Key:        &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: authz.State},
		FactoryKey: "envoy.string",
		Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format:          &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: fields}},
			OmitEmptyValues: true,
		}},
	}
	filter := wire.Extension("envoy.filters.http.set_filter_state", &statev3.Config{OnRequestHeaders: []*filterstatev3.FilterStateValue{note}})
	return append([]*corev3.TypedExtensionConfig{filter}, by...)
}
