package envoy

import (
	"path"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	injectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	codecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	genericv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/internal/wire"
)

const (
	xdsClusterName = "xds"
	tokenSecret    = "xds-token"
	rootsSecret    = "xds-roots"

	// An operator that is gone without a word is noticed after pingInterval + pingTimeout.
	pingInterval = 30 * time.Second
	pingTimeout  = 10 * time.Second
	// Between these, at random, a proxy waits before it calls the operator again.
	reconnectMin = 200 * time.Millisecond
	reconnectMax = 5 * time.Second
)

// xdsCluster is the operator: TLS 1.3 under one exact name, by roots and a token that are read again
// when their files change. Envoy's clients stop at TLS 1.2 unless told otherwise.
func xdsCluster(p Proxy) (*clusterv3.Cluster, error) {
	host, port, err := splitHostPort(p.XDSAddress)
	if err != nil {
		return nil, err
	}
	out := operatorCluster(xdsClusterName, p)
	out.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
	out.DnsLookupFamily = clusterv3.Cluster_ALL
	out.LoadAssignment = oneEndpoint(xdsClusterName, tcp(host, port))
	return out, nil
}

// operatorCluster is one to the operator, wherever it is.
func operatorCluster(name string, p Proxy) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:           name,
		ConnectTimeout: durationpb.New(connectTimeout),
		TransportSocket: &corev3.TransportSocket{
			Name:       tlsSocketName,
			ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: wire.Any(xdsTLS(p))},
		},
		UpstreamConnectionOptions:     &clusterv3.UpstreamConnectionOptions{TcpKeepalive: keepalive()},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{httpOptions: wire.Any(xdsProtocol(p))},
	}
}

func oneEndpoint(cluster string, address *corev3.Address) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: cluster,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address}},
		}}}},
	}
}

func xdsTLS(p Proxy) *tlsv3.UpstreamTlsContext {
	name := &tlsv3.SubjectAltNameMatcher{SanType: tlsv3.SubjectAltNameMatcher_DNS, Matcher: wire.Exactly(p.XDSName)}
	return &tlsv3.UpstreamTlsContext{
		Sni: p.XDSName,
		CommonTlsContext: &tlsv3.CommonTlsContext{
			AlpnProtocols: []string{"h2"},
			TlsParams: &tlsv3.TlsParameters{
				TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
				TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			},
			ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
				CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
					DefaultValidationContext: &tlsv3.CertificateValidationContext{
						MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{name},
					},
					ValidationContextSdsSecretConfig: fileSecret(rootsSecret, p.RootsSDSPath),
				},
			},
		},
	}
}

func xdsProtocol(p Proxy) *upstreamhttpv3.HttpProtocolOptions {
	return &upstreamhttpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &corev3.Http2ProtocolOptions{ConnectionKeepalive: &corev3.KeepaliveSettings{
						Interval: durationpb.New(pingInterval),
						Timeout:  durationpb.New(pingTimeout),
					}},
				},
			},
		},
		HttpFilters: []*hcmv3.HttpFilter{
			httpFilter("envoy.filters.http.credential_injector", &injectorv3.CredentialInjector{
				Overwrite:  true,
				Credential: bearer(p.TokenSDSPath),
			}),
			httpFilter("envoy.filters.http.upstream_codec", &codecv3.UpstreamCodec{}),
		},
	}
}

func bearer(sdsPath string) *corev3.TypedExtensionConfig {
	return &corev3.TypedExtensionConfig{
		Name: "envoy.http.injected_credentials.generic",
		TypedConfig: wire.Any(&genericv3.Generic{
			Credential:        fileSecret(tokenSecret, sdsPath),
			Header:            "authorization",
			HeaderValuePrefix: "Bearer ",
		}),
	}
}

// fileSecret is a secret that Envoy reads again when the SDS file, or a file that it names, changes.
// In the bootstrap itself a secret would be read once.
func fileSecret(name, sdsPath string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{
			PathConfigSource: &corev3.PathConfigSource{Path: sdsPath},
		},
	}}
}

// TokenFile is the SDS file that has Envoy present the token at tokenPath and watch its directory.
// The file's own name must end in .json or .yaml.
func TokenFile(tokenPath string) ([]byte, error) {
	return secretFile(&tlsv3.Secret{
		Name: tokenSecret,
		Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{Secret: watched(tokenPath)}},
	})
}

// RootsFile is the SDS file that has Envoy trust the roots in PEM at rootsPath and watch its
// directory. The file's own name must end in .json or .yaml.
func RootsFile(rootsPath string) ([]byte, error) {
	roots := watched(rootsPath)
	directory := roots.WatchedDirectory
	roots.WatchedDirectory = nil
	return secretFile(&tlsv3.Secret{
		Name: rootsSecret,
		Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa:        roots,
			WatchedDirectory: directory,
		}},
	})
}

func watched(file string) *corev3.DataSource {
	return &corev3.DataSource{
		Specifier:        &corev3.DataSource_Filename{Filename: file},
		WatchedDirectory: &corev3.WatchedDirectory{Path: path.Dir(file)},
	}
}

// secretFile holds one secret: of two in one file Envoy would load neither.
func secretFile(s *tlsv3.Secret) ([]byte, error) {
	return plainJSON(&discoveryv3.DiscoveryResponse{Resources: []*anypb.Any{wire.Any(s)}})
}
