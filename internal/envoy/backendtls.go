package envoy

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/wire"
)

// backendSocket speaks the TLS that a Cluster's apps end by themselves. Authorities are part of the
// Cluster: when they change, connections that the former ones vouched for end with the former Cluster.
func backendSocket(c mesh.Cluster) *corev3.TransportSocket {
	var names []*tlsv3.SubjectAltNameMatcher
	for _, n := range c.TLS.Names {
		if n.Type == gwv1.URISubjectAltNameType {
			names = append(names, &tlsv3.SubjectAltNameMatcher{SanType: tlsv3.SubjectAltNameMatcher_URI, Matcher: wire.Exactly(string(n.URI))})
		} else {
			names = append(names, &tlsv3.SubjectAltNameMatcher{SanType: tlsv3.SubjectAltNameMatcher_DNS, Matcher: wire.Exactly(string(n.Hostname))})
		}
	}
	common := &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		AlpnProtocols: spokenInside(c.Protocol),
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa:                 inline(c.TLS.Authorities),
			MatchTypedSubjectAltNames: names,
		}},
	}
	if c.TLS.Certificate != "" {
		common.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{{Name: c.TLS.Certificate, SdsConfig: ads()}}
	}
	return &corev3.TransportSocket{
		Name:       tlsSocketName,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: wire.Any(&tlsv3.UpstreamTlsContext{Sni: c.TLS.SNI, CommonTlsContext: common})},
	}
}

// spokenInside is what is offered by ALPN: what the Cluster speaks, so that an app which speaks something
// else says so in the handshake.
func spokenInside(p mesh.Protocol) []string {
	switch p {
	case mesh.TCP:
		return nil
	case mesh.HTTP2:
		return []string{"h2"}
	}
	return []string{"http/1.1"}
}

// deadEnd is a Cluster without endpoints: requests are answered 503, connections closed.
func deadEnd(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(connectTimeout),
	}
}
