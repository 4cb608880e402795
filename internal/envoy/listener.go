package envoy

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	inspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/wire"
)

const (
	tlsSocketName    = "envoy.transport_sockets.tls"
	handshakeTimeout = 10 * time.Second
)

// Listener is one port with its chains, of which one of TCP needs at least one. Only a port that has chains
// for TLS looks for it, for looking delays connections on which the client is silent.
func Listener(l mesh.Listener) *listenerv3.Listener {
	if l.Datagrams != "" {
		return datagramListener(l)
	}
	listener := &listenerv3.Listener{
		Name:                          l.Name,
		Address:                       anyAddress(l.Port),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
		TrafficDirection:              corev3.TrafficDirection_INBOUND,
	}
	for _, c := range l.Chains {
		if c.TLS() {
			listener.ListenerFilters = []*listenerv3.ListenerFilter{tlsInspector()}
		}
	}
	inspected := len(listener.ListenerFilters) > 0
	for _, c := range l.Chains {
		listener.FilterChains = append(listener.FilterChains, filterChain(l, c, inspected))
	}
	return listener
}

func tlsInspector() *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name:       "envoy.filters.listener.tls_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: wire.Any(&inspectorv3.TlsInspector{})},
	}
}

func filterChain(l mesh.Listener, c mesh.Chain, inspected bool) *listenerv3.FilterChain {
	chain := &listenerv3.FilterChain{Name: c.Name, Filters: []*listenerv3.Filter{serve(l, c)}}
	if inspected {
		chain.FilterChainMatch = chainMatch(c)
	}
	if len(c.Secrets) > 0 {
		chain.TransportSocket = tlsSocket(frontendTLS(c))
		chain.TransportSocketConnectTimeout = durationpb.New(handshakeTimeout)
	}
	return chain
}

func serve(l mesh.Listener, c mesh.Chain) *listenerv3.Filter {
	if c.Split != "" {
		return splitNamed(c.Split)
	}
	return networkFilter(connectionManager(l, c))
}

func chainMatch(c mesh.Chain) *listenerv3.FilterChainMatch {
	if !c.TLS() {
		return &listenerv3.FilterChainMatch{TransportProtocol: "raw_buffer"}
	}
	match := &listenerv3.FilterChainMatch{TransportProtocol: "tls"}
	if c.Hostname != "" {
		match.ServerNames = []string{c.Hostname}
	}
	return match
}

func networkFilter(manager *hcmv3.HttpConnectionManager) *listenerv3.Filter {
	return &listenerv3.Filter{
		Name:       "envoy.filters.network.http_connection_manager",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: wire.Any(manager)},
	}
}

func tlsSocket(context *tlsv3.DownstreamTlsContext) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       tlsSocketName,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: wire.Any(context)},
	}
}

// frontendTLS asks clients for a certificate where the chain says so. Authorities are part of the chain:
// when they change, connections that the former ones vouched for end with the former chain. No session
// is resumed: a resumed one would not be verified again.
func frontendTLS(c mesh.Chain) *tlsv3.DownstreamTlsContext {
	context := downstreamTLS(c.Secrets)
	if c.Clients == nil {
		return context
	}
	validation := &tlsv3.CertificateValidationContext{TrustedCa: inline(c.Clients.Authorities)}
	if !c.Clients.Required {
		validation.TrustChainVerification = tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED
	}
	context.CommonTlsContext.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: validation}
	context.RequireClientCertificate = wrapperspb.Bool(c.Clients.Required)
	context.SessionTicketKeysType = &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{DisableStatelessSessionResumption: true}
	context.DisableStatefulSessionResumption = true
	return context
}

// downstreamTLS waits 15 s at most for a certificate: after that its chain refuses handshakes, and
// the listener's others serve.
func downstreamTLS(secrets []string) *tlsv3.DownstreamTlsContext {
	common := &tlsv3.CommonTlsContext{
		TlsParams:     &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2},
		AlpnProtocols: []string{"h2", "http/1.1"},
	}
	for _, name := range secrets {
		common.TlsCertificateSdsSecretConfigs = append(common.TlsCertificateSdsSecretConfigs,
			&tlsv3.SdsSecretConfig{Name: name, SdsConfig: ads()})
	}
	return &tlsv3.DownstreamTlsContext{CommonTlsContext: common}
}
