package envoy

import (
	"net/http"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/oidc"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// GenericSecret is one that a filter has, by SDS only: a dump of the configuration does not show it.
func GenericSecret(name string, text []byte) *tlsv3.Secret {
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{Secret: inline(text)}}}
}

// LoginCluster is the host of a token endpoint, by HTTP/1.1: wherever its name leads, by whichever of its addresses can be
// reached.
func LoginCluster(c mesh.LoginCluster) *clusterv3.Cluster {
	out := &clusterv3.Cluster{
		Name:                          c.Name,
		ClusterDiscoveryType:          &clusterv3.Cluster_Type{Type: clusterv3.Cluster_LOGICAL_DNS},
		DnsLookupFamily:               clusterv3.Cluster_ALL,
		ConnectTimeout:                durationpb.New(connectTimeout),
		CircuitBreakers:               breakers(nil),
		LoadAssignment:                oneEndpoint(c.Name, tcp(c.Host, c.Port)),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{httpOptions: wire.Any(spokenTo(false, false))},
	}
	if c.TLS {
		out.TransportSocket = &corev3.TransportSocket{Name: tlsSocketName, ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: wire.Any(loginTLS(c))}}
	}
	return out
}

func loginTLS(c mesh.LoginCluster) *tlsv3.UpstreamTlsContext {
	out, trusted := &tlsv3.UpstreamTlsContext{}, c.Authorities
	kind := tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	if c.Named() {
		kind, out.Sni = tlsv3.SubjectAltNameMatcher_DNS, c.Host
	}
	if len(trusted) == 0 {
		trusted = oidc.PublicAuthorities()
	}
	out.CommonTlsContext = &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		AlpnProtocols: spokenInside(mesh.HTTP1),
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa:                 inline(trusted),
			MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{SanType: kind, Matcher: wire.Exactly(c.Host)}},
		}},
	}
	return out
}

// addLogins has a virtual host answer where its logins come back to, and where they end, whatever its rules take:
// with the filters of the first rule that demands the login. Nobody gets past these there.
func addLogins(host *routev3.VirtualHost, ruled []candidate) {
	seen := map[string]bool{}
	var own []*routev3.Route
	for _, c := range ruled {
		for _, d := range c.rule.Guards {
			says, is := d.Says.(*v1alpha1.OIDC)
			if !is {
				continue
			}
			for _, path := range oidc.Paths(says) {
				if seen[path] {
					continue
				}
				seen[path] = true
				r := &routev3.Route{
					Name:   "login/" + d.Policy,
					Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: path}},
					Action: answer(http.StatusNotFound),
				}
				override(r, loginPlace, room.Override(room.Always(room.Chain(logins(c.rule.Guards)))))
				own = append(own, r)
			}
		}
	}
	host.Routes = append(own, host.Routes...)
}
