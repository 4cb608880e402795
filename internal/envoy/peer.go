package envoy

import (
	"regexp"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	sslinputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/ssl/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/wire"
)

// What a caller offers by ALPN, besides what is spoken: the protocol of its app. It tells the
// sidecar of a port that declares nothing what the app speaks. None of them is ever negotiated.
const (
	offerHTTP1 = "mesh-h1"
	offerHTTP2 = "mesh-h2"
	offerTCP   = "mesh"
)

// inMesh marks an endpoint that is spoken to by mTLS.
var inMesh = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.transport_socket_match": meshMark()}}

func meshMark() *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{"mesh": structpb.NewBoolValue(true)}}
}

// peerSockets speak mTLS to the endpoints that are in the mesh, and plaintext to the others.
func peerSockets(identities, offer []string) []*clusterv3.Cluster_TransportSocketMatch {
	if len(identities) == 0 {
		return nil
	}
	return []*clusterv3.Cluster_TransportSocketMatch{
		{Name: "mesh", Match: meshMark(), TransportSocket: peerSocket(identities, offer)},
	}
}

// peerSocket verifies that the peer is one of the identities. No session is resumed: a resumed one
// would not be verified again.
func peerSocket(identities, offer []string) *corev3.TransportSocket {
	var names []*tlsv3.SubjectAltNameMatcher
	for _, id := range identities {
		names = append(names, &tlsv3.SubjectAltNameMatcher{SanType: tlsv3.SubjectAltNameMatcher_URI, Matcher: wire.Exactly(id)})
	}
	return &corev3.TransportSocket{
		Name: tlsSocketName,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: wire.Any(&tlsv3.UpstreamTlsContext{
			CommonTlsContext: peerTLS(offer, names),
			MaxSessionKeys:   wrapperspb.UInt32(0),
		})},
	}
}

// peerTLS is TLS 1.3 with the proxy's own identity against the mesh's roots.
func peerTLS(alpn []string, names []*tlsv3.SubjectAltNameMatcher) *tlsv3.CommonTlsContext {
	return &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		AlpnProtocols:                  alpn,
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: mesh.IdentitySecret, SdsConfig: adsUntilAnswered()}},
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext:         &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: names},
				ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{Name: mesh.RootsSecret, SdsConfig: adsUntilAnswered()},
			},
		},
	}
}

// callersTLS is the receiving side: it takes any identity of the trust domain. Envoy counts a peer in
// when one of its names matches; that it has one only is asked by onlyName and onlyNameOfBytes.
func callersTLS(trustDomain string, alpn []string) *corev3.TransportSocket {
	member := &tlsv3.SubjectAltNameMatcher{
		SanType: tlsv3.SubjectAltNameMatcher_URI,
		Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "spiffe://" + trustDomain + "/"}},
	}
	return tlsSocket(&tlsv3.DownstreamTlsContext{
		CommonTlsContext:                 peerTLS(alpn, []*tlsv3.SubjectAltNameMatcher{member}),
		RequireClientCertificate:         wrapperspb.Bool(true),
		SessionTicketKeysType:            &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{DisableStatelessSessionResumption: true},
		DisableStatefulSessionResumption: true,
	})
}

// probedTLS ends a kubelet's HTTPS, which verifies nobody and shows no certificate.
func probedTLS() *tlsv3.DownstreamTlsContext {
	common := peerTLS([]string{"http/1.1"}, nil)
	common.ValidationContextType = nil
	return &tlsv3.DownstreamTlsContext{CommonTlsContext: common}
}

// onlyName turns peers away whose certificate has another name beside its SPIFFE ID: Envoy itself is
// content when one of several names is right. It decides at a peer's first byte, before which nothing is
// asked of an app that is spoken to by HTTP.
func onlyName(trustDomain string) *listenerv3.Filter {
	return filterNamed("envoy.filters.network.rbac", &networkrbacv3.RBAC{
		StatPrefix: "peer",
		Matcher: &xdsmatcherv3.Matcher{
			MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
				Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
					Predicate: nameIs(memberID(trustDomain)),
					OnMatch:   verdict("member", rbacv3.RBAC_ALLOW),
				}},
			}},
			OnNoMatch: verdict("stranger", rbacv3.RBAC_DENY),
		},
	})
}

// nameIs holds if all URI names of the peer together, separated by commas, match.
func nameIs(regex string) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input: &xdscorev3.TypedExtensionConfig{Name: "uri_san", TypedConfig: wire.Any(&sslinputsv3.UriSanInput{})},
			Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{
				ValueMatch: &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{
					SafeRegex: &xdsmatcherv3.RegexMatcher{
						Regex:      regex,
						EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}},
					},
				}},
			},
		},
	}}
}

func verdict(name string, action rbacv3.RBAC_Action) *xdsmatcherv3.Matcher_OnMatch {
	return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
		Action: &xdscorev3.TypedExtensionConfig{Name: "verdict", TypedConfig: wire.Any(&rbacv3.Action{Name: name, Action: action})},
	}}
}

// memberID is a SPIFFE ID of a ServiceAccount in a trust domain, and nothing beside it.
func memberID(trustDomain string) string {
	return "spiffe://" + regexp.QuoteMeta(trustDomain) + "/ns/[^/,]+/sa/[^/,]+"
}

// Roots are the authorities by which peers are verified.
func Roots(name string, pem []byte) *tlsv3.Secret {
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{
		ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inline(pem)},
	}}
}
