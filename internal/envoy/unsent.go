package envoy

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/policy/retry"
)

// unsentHeader is one that no app sees: every route configuration removes it from what it passes on, after
// Envoy has decided whether to try again.
const unsentHeader = retry.UnsentHeader

// unsentReplies is for the manager in front of the app: it marks the answers that Envoy gives for want
// of a connection (UF), of an endpoint (UH) or of room in a circuit breaker (UO). They prove that the
// app has seen nothing only while the app's Cluster has no retry policy but retryInbound, for a
// request that was sent before it was tried again may end with the same flags. It marks besides, as sent,
// those that it gives when the app ended the connection (UC) or the stream (UR) instead of answering. The
// manager's routes must remove unsentHeader, or an app could set it.
func unsentReplies() []*hcmv3.ResponseMapper {
	return []*hcmv3.ResponseMapper{
		marked(retry.UnsentTrue, "UF", "UH", "UO"),
		marked(retry.UnsentFalse, "UC", "UR"),
	}
}

func marked(unsent string, flags ...string) *hcmv3.ResponseMapper {
	return &hcmv3.ResponseMapper{
		Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
			ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: flags},
		}},
		HeadersToAdd: []*corev3.HeaderValueOption{
			headerValue(unsentHeader, unsent, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
		},
	}
}

// retryInbound is the retry policy of an app's Cluster beside it. It is about connections that the app
// ended while they were idle. An app that does not listen is left to the caller, who may have others.
func retryInbound() *routev3.RetryPolicy {
	return &routev3.RetryPolicy{
		RetryOn:      "refused-stream,reset-before-request",
		NumRetries:   wrapperspb.UInt32(retry.UnsentAttempts),
		RetryBackOff: retry.Backoff(retry.UnsentBackoff),
	}
}
