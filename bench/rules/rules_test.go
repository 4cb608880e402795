// Package rules_test measures what deciding about a request costs, by how many rules there are:
//
//	none     nothing is decided
//	turn     Envoy's RBAC asks the rules one after the other
//	weft     as Weft has them decided
//	opa      an OPA in this process is asked over gRPC, by Envoy's ext_authz, of the same rules
//	asked    weft authz in this process is, of a module that Envoy does not decide
package rules_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/bench/process"
	"github.com/weft-mesh/weft/internal/authz/check"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/opa/opatest"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/wire"
)

// BenchmarkRequest has requests that the last rule lets in answered, one after the other on one connection. It reports
// the CPU time of Envoy for one and, where OPA is asked, how long that evaluates.
func BenchmarkRequest(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		for _, way := range []struct {
			name    string
			filters func(*testing.B, opa.Policy, *judge) []*corev3.TypedExtensionConfig
		}{
			{"none", func(*testing.B, opa.Policy, *judge) []*corev3.TypedExtensionConfig { return nil }},
			{"turn", inTurn}, {"weft", byWeft}, {"opa", byOPA}, {"asked", byAuthz},
		} {
			b.Run(fmt.Sprintf("%s/%d", way.name, n), func(b *testing.B) {
				if way.name == "asked" && n == 1000 {
					b.Skip("a module may not be so long")
				}
				j, p := &judge{}, policy(n)
				measure(b, j, way.filters(b, p, j), fmt.Sprintf("/p%d/a", n-1))
			})
		}
	}
}

// policy has rules of which each lets in the requests of some tenant to some path.
func policy(n int) opa.Policy {
	says := &v1alpha1.Authorization{}
	for i := range n {
		says.Rules = append(says.Rules, v1alpha1.AuthorizationRule{Name: fmt.Sprintf("r%04d", i), To: []v1alpha1.AuthorizationOperation{{
			Methods: []string{"GET"}, Paths: []v1alpha1.AuthorizationPath{{Prefix: fmt.Sprint("/p", i)}}, Headers: []v1alpha1.AuthorizationHeader{{Name: "x-tenant", Values: []string{"acme"}}},
		}}})
	}
	return opa.Policy{Key: "bench/rules", Authorization: says, TrustDomain: "mesh.test"}
}

func rules(b *testing.B, p opa.Policy) []opa.Rule {
	b.Helper()
	c := opa.Compile(p)
	out, problems := c.For(opa.Destination{Namespace: "bench"})
	if len(problems)+len(c.Problems) > 0 {
		b.Fatal(problems, c.Problems)
	}
	return out
}

func inTurn(b *testing.B, p opa.Policy, _ *judge) (out []*corev3.TypedExtensionConfig) {
	for _, r := range opa.Requests([]opa.Level{{Rules: rules(b, p)}}) {
		out = append(out, wire.Extension("envoy.filters.http.rbac", &httprbacv3.RBAC{Rules: r}))
	}
	return out
}

func byWeft(b *testing.B, p opa.Policy, _ *judge) []*corev3.TypedExtensionConfig {
	said := []room.Decided{{Section: authorization.Section.Name, Policy: p.Key, Level: room.AtService, Says: p.Authorization, Law: authorization.RulingOf(rules(b, p))}}
	return authorization.Section.Room().Guard(said, room.Service)
}

// byAuthz has Envoy ask weft authz of the same rules, in words that Envoy does not decide by.
func byAuthz(b *testing.B, p opa.Policy, j *judge) []*corev3.TypedExtensionConfig {
	var module strings.Builder
	module.WriteString("package weft.v1\n")
	for i := range p.Rules {
		fmt.Fprintf(&module, "allow if { input.request.method == \"GET\"; startswith(input.request.path, \"/p%d\"); lower(input.request.headers[\"x-tenant\"]) == \"acme\" }\n", i)
	}
	asked := opa.Policy{Key: p.Key, TrustDomain: p.TrustDomain, Authorization: &v1alpha1.Authorization{Rego: &v1alpha1.AuthorizationRego{}}}
	asked.Modules = func(v1alpha1.AuthorizationRego) opa.Text { return opa.Text{Text: module.String()} }
	j.authz = check.NewServer(check.Options{})
	question := authorization.Asking("judge", "judge")
	return append(byWeft(b, asked, j), &corev3.TypedExtensionConfig{Name: question.Name, TypedConfig: question.GetTypedConfig()})
}

// byOPA has Envoy ask a judge by gRPC.
func byOPA(b *testing.B, p opa.Policy, j *judge) []*corev3.TypedExtensionConfig {
	j.decision = opatest.Decide(b, p.Module())
	j.b = b
	return []*corev3.TypedExtensionConfig{wire.Extension("envoy.filters.http.ext_authz", &extauthzv3.ExtAuthz{
		TransportApiVersion: corev3.ApiVersion_V3,
		Services: &extauthzv3.ExtAuthz_GrpcService{GrpcService: &corev3.GrpcService{
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: "judge"}}, Timeout: durationpb.New(time.Second),
		}},
	})}
}

// judge asks OPA.
type judge struct {
	b        *testing.B
	decision opatest.Decision
	authz    *check.Server // is asked in its place; nil: it is not
	took     atomic.Int64  // nanoseconds
}

// Check answers Envoy.
func (j *judge) Check(ctx context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	began := time.Now()
	allowed := j.allows
	if j.authz != nil {
		allowed = func(r *authv3.CheckRequest) bool {
			said, err := j.authz.Answer(ctx, r)
			return err == nil && said.Allowed
		}
	}
	defer func() { j.took.Add(int64(time.Since(began))) }()
	if allowed(r) {
		return &authv3.CheckResponse{Status: &status.Status{}}, nil
	}
	return &authv3.CheckResponse{Status: &status.Status{Code: int32(codes.PermissionDenied)}}, nil
}

func (j *judge) allows(r *authv3.CheckRequest) bool {
	asked := r.GetAttributes().GetRequest().GetHttp()
	headers := map[string]any{}
	for name, value := range asked.GetHeaders() {
		headers[name] = value
	}
	path, _, _ := strings.Cut(asked.GetPath(), "?")
	allow, deny := j.decision.Of(j.b, map[string]any{"request": map[string]any{"method": asked.GetMethod(), "path": path, "host": asked.GetHost(), "headers": headers}})
	return allow && !deny
}

func measure(b *testing.B, j *judge, filters []*corev3.TypedExtensionConfig, path string) {
	port := porttest.Free(b, 1)[0]
	e := envoytest.Start(b, &bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{
		Listeners: []*listenerv3.Listener{listener(uint32(port), filters)}, Clusters: []*clusterv3.Cluster{j.serve(b)},
	}})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	ask := func(path string) int {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("x-tenant", "acme")
		response, err := client.Do(r)
		if err != nil {
			return 0
		}
		response.Body.Close()
		return response.StatusCode
	}
	e.Until("requests are answered", func() bool { return ask(path) == http.StatusOK })
	if got := ask("/else"); len(filters) > 0 && got != http.StatusForbidden {
		b.Fatalf("what no rule allows is answered %d", got)
	}
	before, err := process.Of(e.PID())
	if err != nil {
		b.Fatal(err)
	}
	j.took.Store(0)
	n := 0
	for b.Loop() {
		if n++; ask(path) != http.StatusOK {
			b.Fatal("a request was not let in")
		}
	}
	after, err := process.Of(e.PID())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric((after.CPUSeconds-before.CPUSeconds)/float64(n)*1e6, "envoy-cpu-µs/op")
	b.ReportMetric(float64(j.took.Load())/float64(n)/1e3, "opa-µs/op")
}

// serve has the judge asked at a cluster.
func (j *judge) serve(b *testing.B) *clusterv3.Cluster {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, j)
	go server.Serve(l) // which ends with Stop
	b.Cleanup(server.Stop)
	http2 := wire.Any(&upstreamsv3.HttpProtocolOptions{UpstreamProtocolOptions: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_{
		ExplicitHttpConfig: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig{ProtocolConfig: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
		}},
	}})
	return &clusterv3.Cluster{
		Name: "judge", ConnectTimeout: durationpb.New(time.Second), TypedExtensionProtocolOptions: map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: "judge", Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: socket(uint32(l.Addr().(*net.TCPAddr).Port))}},
		}}}}},
	}
}

func socket(port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port}}}}
}

// listener answers what passes the filters itself.
func listener(port uint32, filters []*corev3.TypedExtensionConfig) *listenerv3.Listener {
	m := &hcmv3.HttpConnectionManager{
		StatPrefix: "bench",
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{{
			Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{{
				Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
				Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: http.StatusOK}},
			}},
		}}}},
	}
	for i, f := range filters {
		m.HttpFilters = append(m.HttpFilters, &hcmv3.HttpFilter{Name: fmt.Sprint(f.Name, "-", i), ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: f.TypedConfig}})
	}
	m.HttpFilters = append(m.HttpFilters, &hcmv3.HttpFilter{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: wire.Any(&routerv3.Router{})}})
	return &listenerv3.Listener{Name: "in", Address: socket(port), FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
		Name: "envoy.filters.network.http_connection_manager", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: wire.Any(m)},
	}}}}}
}
