package extauth

import (
	"slices"
	"strings"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// Longest is how long a server may take to answer.
const Longest = 10 * time.Second

// Question is what a server is asked about each request before anything is done with it. What it does not allow, and
// what it cannot be asked about, is refused.
type Question struct {
	Cluster   string // that the server is reached by
	Authority string // the name and port of its Service
	GRPC      bool   // it speaks Envoy's ext_authz protocol; false: HTTP
	Path      string // comes before that of requests, by HTTP; without a slash at its end
	// RequestHeaders are those of the request that it is told of: by gRPC none stand for all, by HTTP they
	// are besides Host and Authorization.
	RequestHeaders []string
	// ResponseHeaders are those of its answer that the backend is told of, by HTTP; none stand for all.
	ResponseHeaders []string
	// ServerHeaders are in lower case those that the backend has from it or not at all, besides those of the
	// ResponseHeaders that it is not told of.
	ServerHeaders []string
	MaxBody       uint32        // bytes of a request's body, which it is told of; 0: of none
	Limit         time.Duration // that it may take; 0: Longest
	FailOpen      bool          // what it cannot be asked about goes on
}

// framing are headers about a message itself. An answer's must not become a request's.
const framing = "connection|content-length|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade"

// Check is the filter that asks, through a cluster. Where the server does not answer, or answers what no request can
// carry, the client gets an error.
func (a Question) Check(through string) *corev3.TypedExtensionConfig {
	out := &extauthzv3.ExtAuthz{
		TransportApiVersion:        corev3.ApiVersion_V3,
		StatusOnError:              &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		FailureModeAllow:           a.FailOpen,
		ValidateMutations:          true,
		AllowedHeaders:             named(a.RequestHeaders),
		ChargeClusterResponseStats: wrapperspb.Bool(false),
		DecoderHeaderMutationRules: &mutationv3.HeaderMutationRules{
			DisallowSystem:     wrapperspb.Bool(true),
			DisallowExpression: &matcherv3.RegexMatcher{Regex: framing},
		},
	}
	if a.MaxBody > 0 {
		out.WithRequestBody = &extauthzv3.BufferSettings{MaxRequestBytes: a.MaxBody, PackAsBytes: a.GRPC}
	}
	if a.GRPC {
		out.Services = &extauthzv3.ExtAuthz_GrpcService{GrpcService: a.overGRPC(through)}
		return checking(out)
	}
	out.EncodeRawHeaders = true // a header that is there twice stays two, as the backend gets it
	if len(a.ResponseHeaders) == 0 {
		out.DecoderHeaderMutationRules.DisallowExpression.Regex += "|content-.*" // of the answer's own body
	}
	out.Services = &extauthzv3.ExtAuthz_HttpService{HttpService: a.overHTTP(through)}
	return checking(out)
}

func checking(c *extauthzv3.ExtAuthz) *corev3.TypedExtensionConfig {
	return wire.Extension("envoy.filters.http.ext_authz", c)
}

func (a Question) limit() *durationpb.Duration {
	if a.Limit > 0 && a.Limit < Longest {
		return durationpb.New(a.Limit)
	}
	return durationpb.New(Longest)
}

func (a Question) overGRPC(through string) *corev3.GrpcService {
	return &corev3.GrpcService{
		TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
			ClusterName: through, Authority: a.Authority, SkipEnvoyHeaders: true,
		}},
		Timeout: a.limit(),
	}
}

func (a Question) overHTTP(through string) *extauthzv3.HttpService {
	taken := named(a.ResponseHeaders)
	if taken == nil {
		taken = &matcherv3.ListStringMatcher{Patterns: []*matcherv3.StringMatcher{wire.Regex(".*")}}
	}
	return &extauthzv3.HttpService{
		ServerUri: &corev3.HttpUri{
			Uri:              "http://" + a.Authority,
			HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: through},
			Timeout:          a.limit(),
		},
		PathPrefix:            a.Path,
		AuthorizationResponse: &extauthzv3.AuthorizationResponse{AllowedUpstreamHeaders: taken},
	}
}

// Sole are the headers, in lower case, that a backend has from the server or not at all: what it is not told of, or
// must not be.
func (a Question) Sole() (out []string) {
	out = slices.Clone(a.ServerHeaders)
	told := append([]string{"authorization", "host"}, strings.Split(framing, "|")...)
	for _, name := range a.ResponseHeaders {
		same := func(other string) bool { return strings.EqualFold(name, other) }
		if room.HeaderName(name) && !slices.ContainsFunc(slices.Concat(told, a.RequestHeaders, a.ServerHeaders), same) {
			out = append(out, strings.ToLower(name))
		}
	}
	return out
}

// named are headers by their names, in any case; nil without any.
func named(headers []string) *matcherv3.ListStringMatcher {
	if len(headers) == 0 {
		return nil
	}
	out := &matcherv3.ListStringMatcher{}
	for _, name := range headers {
		out.Patterns = append(out.Patterns, wire.Exactly(strings.ToLower(name)))
	}
	return out
}
