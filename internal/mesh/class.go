package mesh

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/features"

	"github.com/weft-mesh/weft/internal/incr"
)

// SupportedFeatures are the features of Gateway API that Weft's gateways have whatever CRDs there are, by
// the names of the conformance suite.
var SupportedFeatures = []features.FeatureName{
	features.SupportBackendTLSPolicy,
	features.SupportBackendTLSPolicySANValidation,
	features.SupportGateway,
	features.SupportGatewayAddressEmpty,
	features.SupportGatewayBackendClientCertificate,
	features.SupportGatewayFrontendClientCertificateValidation,
	features.SupportGatewayFrontendClientCertificateValidationInsecureFallback,
	features.SupportGatewayHTTPSListenerDetectMisdirectedRequests,
	features.SupportGatewayInfrastructure,
	features.SupportGatewayPort8080,
	features.SupportGatewayHTTPListenerIsolation,
	features.SupportGatewayStaticAddresses,
	features.SupportGRPCRoute,
	features.SupportGRPCRouteNamedRouteRule,
	features.SupportHTTPRoute,
	features.SupportHTTPRouteBackendProtocolH2C,
	features.SupportHTTPRouteBackendProtocolWebSocket,
	features.SupportHTTPRouteBackendRequestHeaderModification,
	features.SupportHTTPRouteBackendTimeout,
	features.SupportHTTPRouteCORS,
	features.SupportHTTPRouteDestinationPortMatching,
	features.SupportHTTPRouteHostRewrite,
	features.SupportHTTPRouteMethodMatching,
	features.SupportHTTPRouteNamedRouteRule,
	features.SupportHTTPRouteParentRefPort,
	features.SupportHTTPRoutePathRedirect,
	features.SupportHTTPRoutePathRewrite,
	features.SupportHTTPRoutePortRedirect,
	features.SupportHTTPRouteQueryParamMatching,
	features.SupportHTTPRouteRequestMirror,
	features.SupportHTTPRouteRequestMultipleMirrors,
	features.SupportHTTPRouteRequestPercentageMirror,
	features.SupportHTTPRouteRequestTimeout,
	features.SupportHTTPRouteResponseHeaderModification,
	features.SupportHTTPRouteSchemeRedirect,
	features.SupportHTTPRoute303RedirectStatusCode,
	features.SupportHTTPRoute307RedirectStatusCode,
	features.SupportHTTPRoute308RedirectStatusCode,
	features.SupportListenerSet,
	features.SupportReferenceGrant,
	features.SupportTCPRoute,
	features.SupportTLSRoute,
	features.SupportTLSRouteModeMixed,
	features.SupportTLSRouteModeTerminate,
	features.SupportUDPRoute,
}

// experimentalFeatures are those by fields that only the CRDs of the experimental channel have.
var experimentalFeatures = []features.FeatureName{
	features.SupportHTTPRouteRetry,
	features.SupportHTTPRouteRetryBackendTimeout,
	features.SupportHTTPRouteRetryConnectionError,
}

// ClassStatus is the status of a GatewayClass; nil when its controller is another's.
func (m *Mesh) ClassStatus(q *incr.Query, name string) *gwv1.GatewayClassStatus {
	c, ok := m.GatewayClasses.Get(q, name)
	if !ok || !strings.HasPrefix(string(c.Spec.ControllerName), controllerDomain) {
		return nil
	}
	if bad := misnamed(c.Spec.ControllerName, ControllerName, "GatewayClass"); !bad.OK() {
		return &gwv1.GatewayClassStatus{Conditions: []metav1.Condition{holds(gwv1.GatewayClassConditionStatusAccepted, c.Generation, bad, gwv1.GatewayClassReasonAccepted, "")}}
	}
	st := &gwv1.GatewayClassStatus{}
	st.Conditions = append(st.Conditions,
		holds(gwv1.GatewayClassConditionStatusAccepted, c.Generation, m.classProblem(q, c), gwv1.GatewayClassReasonAccepted, "Weft serves the Gateways of this class."))
	st.Conditions = append(st.Conditions,
		holds(gwv1.GatewayClassConditionStatusSupportedVersion, c.Generation, m.versionProblem(q), gwv1.GatewayClassReasonSupportedVersion, "The Gateway API CRDs are of a version that Weft was tested with."))
	for _, f := range m.supported(q) {
		st.SupportedFeatures = append(st.SupportedFeatures, gwv1.SupportedFeature{Name: gwv1.FeatureName(f)})
	}
	return st
}

// supported are the features that Weft's gateways have by the CRDs that there are, in order.
func (m *Mesh) supported(q *incr.Query) []features.FeatureName {
	all := slices.Clone(SupportedFeatures)
	if bundle, _ := m.Bundles.Get(q, gwv1.GroupName); bundle.Channel == string(features.FeatureChannelExperimental) {
		all = append(all, experimentalFeatures...)
	}
	slices.Sort(all)
	return all
}

// supportedVersion is the minor version of the Gateway API CRDs that Weft was tested with.
const supportedVersion = "v1.6"

func (m *Mesh) versionProblem(q *incr.Query) Verdict {
	bundle, known := m.Bundles.Get(q, gwv1.GroupName)
	v := bundle.Version
	if !known || v == supportedVersion || strings.HasPrefix(v, supportedVersion+".") {
		return Verdict{}
	}
	return wrong(gwv1.GatewayClassReasonUnsupportedVersion, "The Gateway API CRDs are of version %q, Weft was tested with %s: what the two do not share may not work.", v, supportedVersion)
}

// served says whether Weft serves the Gateways of a class.
func (m *Mesh) served(q *incr.Query, class string) bool {
	c, ok := m.GatewayClasses.Get(q, class)
	return ok && c.Spec.ControllerName == ControllerName
}

func (m *Mesh) classProblem(q *incr.Query, c *gwv1.GatewayClass) Verdict {
	ref := c.Spec.ParametersRef
	if ref == nil {
		return Verdict{}
	}
	if ref.Namespace == nil {
		return wrong(gwv1.GatewayClassReasonInvalidParameters, "spec.parametersRef.namespace is missing: name the namespace of ConfigMap %q", ref.Name)
	}
	return m.parameters(q, "spec.parametersRef", string(ref.Group), string(ref.Kind), string(*ref.Namespace), ref.Name)
}
