package main

import (
	"context"
	"io"
	"net/http"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
)

// The application decides about the requests of others too, by HTTP under /check/ and by ext_authz: whoever
// has a good token may pass, and X-User says who that is.

const (
	userHeader = "X-User"
	refusal    = "no good token"
)

// bearer is whose good token an Authorization header has.
func bearer(authorization string) (user string, good bool) {
	return strings.CutPrefix(authorization, "Bearer good-")
}

func (a *application) check(w http.ResponseWriter, r *http.Request) {
	user, good := bearer(r.Header.Get("Authorization"))
	if !good {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, refusal) // the client has gone
		return
	}
	w.Header().Set(userHeader, user)
}

// checker is the same by ext_authz.
type checker struct {
	authv3.UnimplementedAuthorizationServer
}

func (checker) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	header := func(name, value string) []*corev3.HeaderValueOption {
		return []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: name, Value: value}}}
	}
	user, good := bearer(r.GetAttributes().GetRequest().GetHttp().GetHeaders()["authorization"])
	if !good {
		return &authv3.CheckResponse{
			Status: &rpcstatus.Status{Code: int32(codes.Unauthenticated)},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status: &typev3.HttpStatus{Code: typev3.StatusCode_Unauthorized}, Body: refusal, Headers: header("WWW-Authenticate", "Bearer"),
			}},
		}, nil
	}
	return &authv3.CheckResponse{
		Status:       &rpcstatus.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{Headers: header(userHeader, user)}},
	}, nil
}
