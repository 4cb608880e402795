package xds

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	injector "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	codecfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	generic "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	envoytls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreams "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weft-mesh/weft/internal/envoytest"
)

func packed(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}

func ads() *core.ConfigSource {
	return &core.ConfigSource{ResourceApiVersion: core.ApiVersion_V3, ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}}}
}

func socket(port int) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(port)}}}}
}

// assignment is the load assignment of a cluster with one endpoint.
func assignment(name string, port int) *endpoint.ClusterLoadAssignment {
	return &endpoint.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpoint.LocalityLbEndpoints{{LbEndpoints: []*endpoint.LbEndpoint{{
		HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: socket(port)}}}}}}}
}

// edsCluster is a cluster whose endpoints come by EDS; another timeout makes it another version.
func edsCluster(name string, timeout time.Duration) *cluster.Cluster {
	return &cluster.Cluster{Name: name, ConnectTimeout: durationpb.New(timeout), ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
		EdsClusterConfig: &cluster.Cluster_EdsClusterConfig{EdsConfig: ads()}}
}

// gateway is a listener on that port whose routes come by RDS.
func gateway(name string, port int, routes string) *listener.Listener {
	return &listener.Listener{Name: name, Address: socket(port), FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{
		Name: "envoy.filters.network.http_connection_manager",
		ConfigType: &listener.Filter_TypedConfig{TypedConfig: packed(&hcm.HttpConnectionManager{
			StatPrefix:     name,
			RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{ConfigSource: ads(), RouteConfigName: routes}},
			HttpFilters:    []*hcm.HttpFilter{{Name: "envoy.filters.http.router", ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: packed(&router.Router{})}}},
		})}}}}}}
}

func discovered(name string) *route.RouteConfiguration {
	return &route.RouteConfiguration{Name: name, Vhds: &route.Vhds{ConfigSource: ads()}}
}

// answering is a virtual host that answers every request with that text.
func answering(name, domain, text string) *route.VirtualHost {
	return &route.VirtualHost{Name: name, Domains: []string{domain}, Routes: []*route.Route{{
		Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}},
		Action: &route.Route_DirectResponse{DirectResponse: &route.DirectResponseAction{Status: 200,
			Body: &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: text}}}}}}}
}

// forwarding is a virtual host that sends every request to that cluster.
func forwarding(name, domain, to string) *route.VirtualHost {
	return &route.VirtualHost{Name: name, Domains: []string{domain}, Routes: []*route.Route{{
		Match:  &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}},
		Action: &route.Route_Route{Route: &route.RouteAction{ClusterSpecifier: &route.RouteAction_Cluster{Cluster: to}}}}}}
}

// tooLong is a virtual host that an Envoy with a low limit on patterns refuses.
func tooLong(name, domain string) *route.VirtualHost {
	v := answering(name, domain, "never")
	v.Routes[0].Match = &route.RouteMatch{PathSpecifier: &route.RouteMatch_SafeRegex{SafeRegex: &matcher.RegexMatcher{Regex: "/(a|b|c|d|e|f|g|h){1,40}"}}}
	return v
}

// web is a change by which scope web sees these messages.
func web(messages ...proto.Message) Change {
	c := Change{Resources: map[Resource]*discovery.Resource{}, Scopes: map[string]map[Name]*Variant{"web": {}}}
	ordinary := Variant("")
	for _, m := range messages {
		typeURL, name := "type.googleapis.com/"+string(m.ProtoReflect().Descriptor().FullName()), ""
		if a, ok := m.(*endpoint.ClusterLoadAssignment); ok {
			name = a.ClusterName
		} else {
			name = m.(interface{ GetName() string }).GetName()
		}
		c.Resources[at(typeURL, name)] = Marshal(name, m)
		c.Scopes["web"][Name{typeURL, name}] = &ordinary
	}
	return c
}

func resources(s *Store, messages ...proto.Message) uint64 { return s.Commit(web(messages...)) }

// backend answers every request with that text.
func backend(t *testing.T, text string) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// folder is what a pod of Weft has on disk: the server's roots, the token, and the SDS
// file by which Envoy watches the token.
type folder struct{ token, sds, roots string }

func (h *harness) folder(token string) folder {
	dir := h.t.TempDir()
	f := folder{filepath.Join(dir, "token", "token"), filepath.Join(dir, "sds", "sds.yaml"), filepath.Join(dir, "roots.pem")}
	h.file(f.token, token)
	h.file(f.roots, string(h.pem))
	h.file(f.sds, fmt.Sprintf(`resources:
- "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: xds-token
  generic_secret: {secret: {filename: %q, watched_directory: {path: %q}}}
`, f.token, filepath.Dir(f.token)))
	return f
}

// file replaces a file as the kubelet does: by a rename.
func (h *harness) file(path, body string) {
	for _, err := range []error{os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path+"~", []byte(body), 0o600), os.Rename(path+"~", path)} {
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

// bootstrap is that of a proxy of this server: delta ADS over TLS 1.3, with its token.
func (h *harness) bootstrap(f folder) *bootstrap.Bootstrap {
	runtime, err := structpb.NewStruct(map[string]any{"re2": map[string]any{"max_program_size": map[string]any{"error_level": 100}}})
	if err != nil {
		h.t.Fatal(err)
	}
	_, port, _ := strings.Cut(h.addr, ":")
	n, _ := strconv.Atoi(port)
	return &bootstrap.Bootstrap{
		Node: &core.Node{Id: "web-0", Cluster: "web"},
		LayeredRuntime: &bootstrap.LayeredRuntime{Layers: []*bootstrap.RuntimeLayer{{Name: "static",
			LayerSpecifier: &bootstrap.RuntimeLayer_StaticLayer{StaticLayer: runtime}}}},
		StaticResources: &bootstrap.Bootstrap_StaticResources{Clusters: []*cluster.Cluster{{
			Name: "xds", ConnectTimeout: durationpb.New(1e9), LoadAssignment: assignment("xds", n),
			TypedExtensionProtocolOptions: map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": packed(tokenOptions(f))},
			TransportSocket: &core.TransportSocket{Name: "envoy.transport_sockets.tls", ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: packed(
				&envoytls.UpstreamTlsContext{Sni: "xds.test", CommonTlsContext: &envoytls.CommonTlsContext{
					TlsParams: &envoytls.TlsParameters{TlsMinimumProtocolVersion: envoytls.TlsParameters_TLSv1_3, TlsMaximumProtocolVersion: envoytls.TlsParameters_TLSv1_3},
					ValidationContextType: &envoytls.CommonTlsContext_ValidationContext{ValidationContext: &envoytls.CertificateValidationContext{
						TrustedCa: &core.DataSource{Specifier: &core.DataSource_Filename{Filename: f.roots}}}}}})}},
		}}},
		DynamicResources: &bootstrap.Bootstrap_DynamicResources{CdsConfig: ads(), LdsConfig: ads(), AdsConfig: &core.ApiConfigSource{
			ApiType: core.ApiConfigSource_DELTA_GRPC, TransportApiVersion: core.ApiVersion_V3, SetNodeOnFirstMessageOnly: true,
			GrpcServices: []*core.GrpcService{{TargetSpecifier: &core.GrpcService_EnvoyGrpc_{EnvoyGrpc: &core.GrpcService_EnvoyGrpc{ClusterName: "xds"}}}},
		}},
	}
}

func tokenOptions(f folder) *upstreams.HttpProtocolOptions {
	return &upstreams.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstreams.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &upstreams.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &upstreams.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &core.Http2ProtocolOptions{}}}},
		HttpFilters: []*hcm.HttpFilter{
			{Name: "envoy.filters.http.credential_injector", ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: packed(&injector.CredentialInjector{
				Overwrite: true, Credential: &core.TypedExtensionConfig{Name: "envoy.http.injected_credentials.generic", TypedConfig: packed(&generic.Generic{
					Header: "authorization", HeaderValuePrefix: "Bearer ",
					Credential: &envoytls.SdsSecretConfig{Name: "xds-token", SdsConfig: &core.ConfigSource{ConfigSourceSpecifier: &core.ConfigSource_PathConfigSource{
						PathConfigSource: &core.PathConfigSource{Path: f.sds}}}}})}})}},
			{Name: "envoy.filters.http.upstream_codec", ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: packed(&codecfilter.UpstreamCodec{})}},
		},
	}
}

func (h *harness) envoy() *envoytest.Envoy {
	return envoytest.Start(h.t, h.bootstrap(h.folder("web-0")))
}
