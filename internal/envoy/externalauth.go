package envoy

import (
	"slices"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	aggregatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/aggregate/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/retry"
	"github.com/weft-mesh/weft/internal/wire"
)

const (
	authFilter = "envoy.filters.http.composite"

	// framing are headers about a message itself. An answer's must not become a request's.
	framing = "connection|content-length|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade"
)

// authPlace is where a route's own check takes place; for other routes it is not there. The filter of
// ext_authz itself could not be: what it tells the server of is the same for all routes.
func authPlace() *hcmv3.HttpFilter {
	f := httpFilter(authFilter, &compositev3.Composite{})
	f.Disabled = true
	return f
}

// addAuth has the requests of a route checked. Envoy decides on the route before that, and not again.
func addAuth(r *routev3.Route, rule *mesh.Rule) {
	if rule.Auth == nil {
		return
	}
	chain := &compositev3.FilterChainConfiguration{}
	if own := sole(rule.Auth); len(own) > 0 {
		chain.TypedConfig = append(chain.TypedConfig, wire.Extension("envoy.filters.http.header_mutation", without(own)))
	}
	chain.TypedConfig = append(chain.TypedConfig, wire.Extension("envoy.filters.http.ext_authz", check(rule)))
	perFilter(r, authFilter, &compositev3.CompositePerRoute{Matcher: &xdsmatcherv3.Matcher{
		OnNoMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
			Action: &xdscorev3.TypedExtensionConfig{Name: "check", TypedConfig: wire.Any(&compositev3.ExecuteFilterAction{FilterChain: chain})},
		}},
	}})
}

// sole are the headers that a backend has from the server or not at all, for the server is not told what the
// client put into them.
func sole(a *mesh.ExternalAuth) (out []string) {
	told := append([]string{"authorization", "host"}, strings.Split(framing, "|")...)
	for _, name := range a.ResponseHeaders {
		same := func(other string) bool { return strings.EqualFold(name, other) }
		if mesh.ValidHeaderName(name) && !slices.ContainsFunc(told, same) && !slices.ContainsFunc(a.RequestHeaders, same) {
			out = append(out, strings.ToLower(name))
		}
	}
	return out
}

func without(headers []string) *headermutationv3.HeaderMutation {
	m := &headermutationv3.Mutations{}
	for _, name := range headers {
		m.RequestMutations = append(m.RequestMutations, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: name}})
	}
	return &headermutationv3.HeaderMutation{Mutations: m}
}

// check asks the server. Where it does not answer, or answers what no request can carry, the client gets an
// error.
func check(rule *mesh.Rule) *extauthzv3.ExtAuthz {
	a, limit := rule.Auth, durationpb.New(mesh.AskTimeout)
	if t := timeout(rule.Timeouts); t.AsDuration() > 0 && t.AsDuration() < mesh.AskTimeout {
		limit = t
	}
	out := &extauthzv3.ExtAuthz{
		TransportApiVersion:        corev3.ApiVersion_V3,
		StatusOnError:              &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
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
		out.Services = &extauthzv3.ExtAuthz_GrpcService{GrpcService: overGRPC(a, limit)}
		return out
	}
	out.EncodeRawHeaders = true // a header that is there twice stays two, as the backend gets it
	if len(a.ResponseHeaders) == 0 {
		out.DecoderHeaderMutationRules.DisallowExpression.Regex += "|content-.*" // of the answer's own body
	}
	out.Services = &extauthzv3.ExtAuthz_HttpService{HttpService: overHTTP(a, limit)}
	return out
}

func overGRPC(a *mesh.ExternalAuth, limit *durationpb.Duration) *corev3.GrpcService {
	return &corev3.GrpcService{
		TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
			ClusterName: mesh.Asking(a.Cluster), Authority: a.Authority, SkipEnvoyHeaders: true,
		}},
		Timeout: limit,
	}
}

func overHTTP(a *mesh.ExternalAuth, limit *durationpb.Duration) *extauthzv3.HttpService {
	taken := named(a.ResponseHeaders)
	if taken == nil {
		taken = &matcherv3.ListStringMatcher{Patterns: []*matcherv3.StringMatcher{wire.Regex(".*")}}
	}
	return &extauthzv3.HttpService{
		ServerUri: &corev3.HttpUri{
			Uri:              "http://" + a.Authority,
			HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: mesh.Asking(a.Cluster)},
			Timeout:          limit,
		},
		PathPrefix:            a.Path,
		AuthorizationResponse: &extauthzv3.AuthorizationResponse{AllowedUpstreamHeaders: taken},
	}
}

// AskingCluster is the cluster of that mesh.Asking name. Endpoints, connections and how these speak are the
// other cluster's; of its own it has the retries, the other's way of which Envoy does not look at.
func AskingCluster(name string) *clusterv3.Cluster {
	options := spokenTo(false, false)
	options.CommonHttpProtocolOptions = nil
	options.RetryPolicy = retry.Unsent()
	return &clusterv3.Cluster{
		Name: name,
		ClusterDiscoveryType: &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
			Name:        "envoy.clusters.aggregate",
			TypedConfig: wire.Any(&aggregatev3.ClusterConfig{Clusters: []string{strings.TrimPrefix(name, mesh.AskingPrefix)}}),
		}},
		LbPolicy:                      clusterv3.Cluster_CLUSTER_PROVIDED,
		ConnectTimeout:                durationpb.New(connectTimeout),
		CircuitBreakers:               breakers(nil),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{httpOptions: wire.Any(options)},
	}
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
