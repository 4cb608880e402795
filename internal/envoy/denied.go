package envoy

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// Who is denied is told the request's ID and nothing else. Who may read the proxy's log finds by it which policy and
// rule it was.

const requestID = "x-request-id"

// tellsID has the answers by which the proxy denies carry the ID that is in their line of the access log. A request
// has one when it gets to a filter that denies: that of the proxy, or of whom the proxy believes.
func tellsID() *hcmv3.ResponseMapper {
	return &hcmv3.ResponseMapper{
		Filter: denial(),
		HeadersToAdd: []*corev3.HeaderValueOption{{
			Header:       &corev3.HeaderValue{Key: requestID, Value: "%REQ(X-REQUEST-ID)%"},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}},
	}
}

// denial takes what the proxy itself answers with 401 or 403, or with what is the same in gRPC. Of what is answered
// otherwise nothing more is looked at.
func denial() *accesslogv3.AccessLogFilter {
	status := &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_GrpcStatusFilter{
		GrpcStatusFilter: &accesslogv3.GrpcStatusFilter{Statuses: []accesslogv3.GrpcStatusFilter_Status{
			accesslogv3.GrpcStatusFilter_UNAUTHENTICATED, accesslogv3.GrpcStatusFilter_PERMISSION_DENIED,
		}},
	}}
	return allOf(status, expression("response.code_details != 'via_upstream'"))
}

// ownReplies are the answers of a manager that faces callers, by who gives them.
func ownReplies(more ...*hcmv3.ResponseMapper) *hcmv3.LocalReplyConfig {
	return &hcmv3.LocalReplyConfig{Mappers: append([]*hcmv3.ResponseMapper{tellsID()}, more...)}
}
