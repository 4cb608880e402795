package extensions

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// messageTimeout is Envoy's own.
const messageTimeout = 200 * time.Millisecond

// processor asks a server. Envoy has decided on the route, and does not again: other filters have looked at the
// request as one of that route.
func processor(policy string, e v1alpha1.Extension, found room.Referent) *extprocv3.ExternalProcessor {
	mode := e.ExtProc.ProcessingMode
	return &extprocv3.ExternalProcessor{
		GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
			ClusterName: found.Cluster, Authority: found.Authority, SkipEnvoyHeaders: true,
		}}},
		StatPrefix:       policy + "/" + e.Name,
		FailureModeAllow: e.FailOpen,
		ProcessingMode: &extprocv3.ProcessingMode{
			RequestHeaderMode:   headers(mode.RequestHeaderMode),
			ResponseHeaderMode:  headers(mode.ResponseHeaderMode),
			RequestBodyMode:     bodies[mode.RequestBodyMode],
			ResponseBodyMode:    bodies[mode.ResponseBodyMode],
			RequestTrailerMode:  extprocv3.ProcessingMode_SKIP,
			ResponseTrailerMode: extprocv3.ProcessingMode_SKIP,
		},
		MessageTimeout:   room.Duration(e.ExtProc.MessageTimeout, messageTimeout),
		RouteCacheAction: extprocv3.ExternalProcessor_RETAIN,
	}
}

func headers(m v1alpha1.HeaderSendMode) extprocv3.ProcessingMode_HeaderSendMode {
	if m == "Skip" {
		return extprocv3.ProcessingMode_SKIP
	}
	return extprocv3.ProcessingMode_SEND
}

var bodies = map[v1alpha1.BodySendMode]extprocv3.ProcessingMode_BodySendMode{
	"Streamed":        extprocv3.ProcessingMode_STREAMED,
	"Buffered":        extprocv3.ProcessingMode_BUFFERED,
	"BufferedPartial": extprocv3.ProcessingMode_BUFFERED_PARTIAL,
}
