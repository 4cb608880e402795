package conformance

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/gateway-api/conformance/tests/mesh"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"

	"github.com/weft-mesh/weft/internal/sidecar"
)

// meshFeatures are all extended features of the two mesh profiles, and those that the mesh tests in
// no profile need besides. They are named here because no status of an object in the standard
// channel can name them.
var meshFeatures = slices.Concat(features.SetsToNamesSet(features.MeshExtendedFeatures).UnsortedList(), []features.FeatureName{
	features.SupportHTTPRouteResponseHeaderModification, features.SupportHTTPRouteParentRefPort,
	features.SupportHTTPRoute303RedirectStatusCode, features.SupportHTTPRoute307RedirectStatusCode,
	features.SupportHTTPRoute308RedirectStatusCode,
})

// inNoProfile are the tests that no report counts: a report can be green while they fail.
var inNoProfile = []string{"MeshConsumerRoute", "MeshFrontend", "MeshFrontendHostname", "MeshPorts",
	"MeshHTTPRoute303Redirect", "MeshHTTPRoute307Redirect", "MeshHTTPRoute308Redirect"}

// TestMesh runs the profiles MESH-HTTP and MESH-GRPC with all their extended features, and the mesh
// tests in no profile.
func TestMesh(t *testing.T) {
	s := prepare(t)
	options := defaults(t, s)
	options.GatewayClassName, options.Mode = "", "mesh"
	options.ConformanceProfiles = []suite.ConformanceProfileName{suite.MeshHTTPConformanceProfileName, suite.MeshGRPCConformanceProfileName}
	options.SupportedFeatures = meshFeatures
	options.NamespaceLabels = map[string]string{sidecar.InjectLabel: sidecar.Enabled}
	results := run(t, s, options)
	if options.RunTest == "" {
		t.Cleanup(func() { // tests that run in parallel end after this function
			results.want(t, inNoProfile...)
			results.want(t, meshTests(t)...)
		})
	}
}

// meshTests are all mesh tests that the suite has.
func meshTests(t *testing.T) (names []string) {
	t.Helper()
	for _, test := range meshtests.MeshConformanceTests {
		names = append(names, test.ShortName)
	}
	if len(names) < len(inNoProfile) || !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "MeshGRPC") }) {
		t.Errorf("the suite has the mesh tests %v: too few", names)
	}
	return names
}
