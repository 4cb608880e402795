package main

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// processor is told of the requests of others by ext_proc: it says so to whom they are for, and refuses those
// of which the path ends in /refused.
type processor struct {
	extprocv3.UnimplementedExternalProcessorServer
}

const processedHeader = "X-Processed"

func (processor) Process(s extprocv3.ExternalProcessor_ProcessServer) error {
	for {
		in, err := s.Recv()
		if err != nil {
			return nil //nolint:nilerr // the proxy has no more to tell
		}
		out := &extprocv3.ProcessingResponse{}
		switch r := in.Request.(type) {
		case *extprocv3.ProcessingRequest_RequestHeaders:
			out.Response = &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{Response: processed()}}
			for _, h := range r.RequestHeaders.Headers.GetHeaders() {
				if h.Key == ":path" && strings.HasSuffix(string(h.RawValue), "/refused") {
					out.Response = &extprocv3.ProcessingResponse_ImmediateResponse{ImmediateResponse: &extprocv3.ImmediateResponse{Status: &typev3.HttpStatus{Code: typev3.StatusCode_Forbidden}}}
				}
			}
		case *extprocv3.ProcessingRequest_ResponseHeaders:
			out.Response = &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{Response: processed()}}
		}
		if err := s.Send(out); err != nil {
			return nil //nolint:nilerr // the proxy has gone
		}
	}
}

func processed() *extprocv3.CommonResponse {
	return &extprocv3.CommonResponse{HeaderMutation: &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{
		{Header: &corev3.HeaderValue{Key: processedHeader, RawValue: []byte("yes")}},
	}}}
}
