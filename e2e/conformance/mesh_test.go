package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"
	"sigs.k8s.io/gateway-api/conformance/tests/mesh"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"

	"github.com/weft-mesh/weft/e2e/stage"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// meshFeatures are all extended features of the two mesh profiles, and those that the mesh tests in
// no profile need besides. They are named here because no status of an object in the standard
// channel can name them; in the experimental one that of an XMesh does.
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
	if options.SupportedFeatures = meshFeatures; options.RunTest == "" && hasXMesh(t, s) {
		options.SupportedFeatures, options.MeshName = nil, showMesh(t, s)
	}
	options.NamespaceLabels = map[string]string{sidecar.InjectLabel: sidecar.Enabled}
	results := run(t, s, options)
	if options.RunTest == "" {
		t.Cleanup(func() { // tests that run in parallel end after this function
			results.want(t, inNoProfile...)
			results.want(t, meshTests(t)...)
		})
	}
}

// hasXMesh says whether the cluster's channel of Gateway API has the kind.
func hasXMesh(t *testing.T, s *stage.Stage) bool {
	t.Helper()
	channel, err := s.Channel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return channel == stage.Experimental
}

const xmesh = `
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XMesh
metadata: {name: weft}
spec: {controllerName: mesh.weft.dev/mesh-controller}
`

// showMesh makes an XMesh, and waits until its status claims what the suite would have to be told otherwise.
func showMesh(t *testing.T, s *stage.Stage) (name string) {
	t.Helper()
	if err := s.Apply(t.Context(), "", xmesh); err != nil {
		t.Fatal(err)
	}
	err := stage.Until(t.Context(), time.Minute, func(ctx context.Context) error {
		var shown gwx.XMesh
		if err := s.Get(ctx, client.ObjectKey{Name: "weft"}, &shown); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(shown.Status.Conditions, string(gwx.MeshConditionAccepted)) {
			return fmt.Errorf("conditions of XMesh weft: %+v", shown.Status.Conditions)
		}
		for _, f := range meshFeatures {
			if !slices.Contains(shown.Status.SupportedFeatures, gwv1.SupportedFeature{Name: gwv1.FeatureName(f)}) {
				return fmt.Errorf("XMesh weft does not claim %s", f)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return "weft"
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
