package envoy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"testing"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
)

// hop is two Envoys between a client and an app, with mTLS from one to the other: the caller's
// sidecar, and the app's.
type hop struct {
	caller, app *envoytest.Envoy
	http, tcp   uint32 // ports of the caller's sidecar
}

const (
	callerID = "spiffe://mesh.test/ns/shop/sa/web"
	appID    = "spiffe://mesh.test/ns/stock/sa/stock"
)

// logs are what the four filters of a hop write to, and what is before two of them.
type logs struct {
	callerHTTP, callerTCP, appHTTP, appTCP []*accesslogv3.AccessLog

	httpRules *httprbacv3.RBAC
	tcpRules  *networkrbacv3.RBAC
}

// stockCluster is where the caller's sidecar sends what it gets for the Service stock: to another.
const stockCluster = "service/stock/stock-canary/80"

func startHop(t *testing.T, l logs, app, tcpApp mesh.Endpoint) hop {
	t.Helper()
	ports := porttest.Free(t, 4)
	h := hop{http: ports[0], tcp: ports[1]}
	inside := &bootstrapv3.Bootstrap_StaticResources{
		Listeners: []*listenerv3.Listener{
			encrypted(t, listening(t, ports[2], l.inbound(t))),
			encrypted(t, l.inboundTCP(t, ports[3])),
		},
		Clusters: []*clusterv3.Cluster{plain("app", app), plain("app-tcp", tcpApp)},
	}
	outside := &bootstrapv3.Bootstrap_StaticResources{
		Listeners: []*listenerv3.Listener{
			listening(t, h.http, manager(l.callerHTTP, stockCluster)),
			listening(t, h.tcp, tcpProxy(l.callerTCP, stockCluster+"/tcp")),
		},
		Clusters: []*clusterv3.Cluster{
			meshed(t, plain(stockCluster, mesh.Endpoint{Address: "127.0.0.1", Port: ports[2]})),
			meshed(t, plain(stockCluster+"/tcp", mesh.Endpoint{Address: "127.0.0.1", Port: ports[3]})),
		},
	}
	h.app, h.caller = counting(t, inside), counting(t, outside)
	for _, e := range []*envoytest.Envoy{h.app, h.caller} {
		e.Until("Envoy is live", func() bool { return e.Counter("server.live") == 1 })
	}
	return h
}

func (l logs) inbound(t *testing.T) *hcmv3.HttpConnectionManager {
	m := manager(l.appHTTP, "app")
	if l.httpRules != nil {
		rbac := &hcmv3.HttpFilter{Name: "envoy.filters.http.rbac", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(t, l.httpRules)}}
		m.HttpFilters = append([]*hcmv3.HttpFilter{rbac}, m.HttpFilters...)
	}
	return m
}

func (l logs) inboundTCP(t *testing.T, port uint32) *listenerv3.Listener {
	proxy := tcpProxy(l.appTCP, "app-tcp")
	if l.tcpRules == nil {
		return listening(t, port, proxy)
	}
	return listening(t, port, l.tcpRules, proxy)
}

// counting is an Envoy with a sidecar's statistics. Histograms show what they got at the next flush.
func counting(t *testing.T, resources *bootstrapv3.Bootstrap_StaticResources) *envoytest.Envoy {
	t.Helper()
	return envoytest.Start(t, &bootstrapv3.Bootstrap{
		StaticResources:    resources,
		StatsConfig:        envoy.StatsConfig(true),
		StatsFlushInterval: durationpb.New(50 * time.Millisecond),
	})
}

func manager(logs []*accesslogv3.AccessLog, to string) *hcmv3.HttpConnectionManager {
	m := envoy.Hardened("hop")
	m.PreserveExternalRequestId = true // or each proxy would give the request another
	m.AccessLog = logs
	m.HttpFilters = []*hcmv3.HttpFilter{envoy.Router()}
	unrouted := toCluster("nowhere")
	unrouted.Match = &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/nowhere"}}
	route := toCluster(to)
	route.Name = "httproute/stock/stock/0/0"
	m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
		VirtualHosts:     []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{unrouted, route}}},
		ValidateClusters: wrapperspb.Bool(false),
	}}
	return m
}

func tcpProxy(logs []*accesslogv3.AccessLog, to string) *tcpproxyv3.TcpProxy {
	return &tcpproxyv3.TcpProxy{
		StatPrefix:          "hop",
		ClusterSpecifier:    &tcpproxyv3.TcpProxy_Cluster{Cluster: to},
		AccessLog:           logs,
		AccessLogOptions:    envoy.TCPLogOptions(),
		UpstreamConnectMode: tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_TLS_HANDSHAKE,
		MaxEarlyDataBytes:   wrapperspb.UInt32(0),
	}
}

func plain(name string, at mesh.Endpoint) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:           name,
		LoadAssignment: envoy.Endpoints(mesh.Endpoints{Cluster: name, Addresses: []mesh.Endpoint{at}}),
	}
}

// meshed has a Cluster reached by mTLS, and HTTP/2 inside it.
func meshed(t *testing.T, c *clusterv3.Cluster) *clusterv3.Cluster {
	c.TransportSocket = socket(t, &tlsv3.UpstreamTlsContext{CommonTlsContext: secrets(t, callerID)})
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(t, &upstreamhttpv3.HttpProtocolOptions{
			UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{
				ExplicitHttpConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
						Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
					},
				},
			},
		}),
	}
	return c
}

func encrypted(t *testing.T, l *listenerv3.Listener) *listenerv3.Listener {
	l.FilterChains[0].TransportSocket = socket(t, &tlsv3.DownstreamTlsContext{
		CommonTlsContext:         secrets(t, appID),
		RequireClientCertificate: wrapperspb.Bool(true),
	})
	return l
}

func socket(t *testing.T, context proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(t, context)},
	}
}

// secrets trust the one authority of the test, and present an identity that it signed.
func secrets(t *testing.T, id string) *tlsv3.CommonTlsContext {
	t.Helper()
	inline := func(pem []byte) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: pem}}
	}
	chain, key := signed(t, id)
	only13 := tlsv3.TlsParameters_TLSv1_3
	return &tlsv3.CommonTlsContext{
		TlsParams:       &tlsv3.TlsParameters{TlsMinimumProtocolVersion: only13, TlsMaximumProtocolVersion: only13},
		AlpnProtocols:   []string{"h2"},
		TlsCertificates: []*tlsv3.TlsCertificate{{CertificateChain: inline(chain), PrivateKey: inline(key)}},
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: inline(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})),
		}},
	}
}

var authorityKey, authority = newAuthority()

func newAuthority() (*ecdsa.PrivateKey, *x509.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := certificate("spiffe://mesh.test")
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		panic(err)
	}
	return key, parsed
}

func certificate(id string) *x509.Certificate {
	uri, err := url.Parse(id)
	if err != nil {
		panic(fmt.Sprintf("identity %s: %v", id, err))
	}
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), URIs: []*url.URL{uri}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func signed(t *testing.T, id string, more ...string) (chain, private []byte) {
	t.Helper()
	template := certificate(id)
	for _, another := range more {
		template.URIs = append(template.URIs, certificate(another).URIs...)
	}
	return sign(t, template)
}

func sign(t *testing.T, template *x509.Certificate) (chain, private []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), authorityKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
