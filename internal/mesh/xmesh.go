package mesh

import (
	"slices"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"
	"sigs.k8s.io/gateway-api/pkg/features"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
)

// MeshControllerName is the one that an XMesh names to show what Weft's mesh can do.
const MeshControllerName gwv1.GatewayController = "mesh.weft.dev/mesh-controller"

// MeshFeatures are the features of Gateway API that routes between sidecars have, by the names of the
// conformance suite, as far as it tests them there.
var MeshFeatures = []features.FeatureName{
	features.SupportGRPCRoute,
	features.SupportHTTPRoute,
	features.SupportHTTPRoute303RedirectStatusCode,
	features.SupportHTTPRoute307RedirectStatusCode,
	features.SupportHTTPRoute308RedirectStatusCode,
	features.SupportHTTPRouteParentRefPort,
	features.SupportHTTPRouteResponseHeaderModification,
	features.SupportMesh,
	features.SupportMeshClusterIPMatching,
	features.SupportMeshConsumerRoute,
	features.SupportMeshHTTPRouteBackendRequestHeaderModification,
	features.SupportMeshHTTPRouteNamedRouteRule,
	features.SupportMeshHTTPRouteQueryParamMatching,
	features.SupportMeshHTTPRouteRedirectPath,
	features.SupportMeshHTTPRouteRedirectPort,
	features.SupportMeshHTTPRouteRewritePath,
	features.SupportMeshHTTPRouteSchemeRedirect,
}

// XMeshStatus is the status of an XMesh; nil when its controller is another.
func (m *Mesh) XMeshStatus(q *incr.Query, name string) *gwx.MeshStatus {
	x, ok := m.XMeshes.Get(q, name)
	if !ok || x.Spec.ControllerName != MeshControllerName {
		return nil
	}
	st := &gwx.MeshStatus{}
	st.Conditions = append(st.Conditions, holds(gwx.MeshConditionAccepted, x.Generation, m.xmeshProblem(q, x), gwx.MeshReasonAccepted, "Weft's sidecars serve the routes of Services."))
	for _, f := range slices.Sorted(slices.Values(MeshFeatures)) {
		st.SupportedFeatures = append(st.SupportedFeatures, gwv1.SupportedFeature{Name: gwv1.FeatureName(f)})
	}
	return st
}

// xmeshProblem looks at an XMesh's parameters, which can only be Weft's own Mesh.
func (m *Mesh) xmeshProblem(q *incr.Query, x *gwx.XMesh) Verdict {
	ref := x.Spec.ParametersRef
	if ref == nil {
		return Verdict{}
	}
	own := string(ref.Group) == v1alpha1.GroupVersion.Group && ref.Kind == "Mesh" && ref.Namespace == nil
	if _, ok := m.Meshes.Get(q, ref.Name); !own || !ok {
		return wrong(gwx.MeshReasonInvalidParameters, "spec.parametersRef names %s %q of group %q: leave it out, or name the Mesh %q of group %q, which has no namespace, once it exists", ref.Kind, ref.Name, ref.Group, v1alpha1.MeshName, v1alpha1.GroupVersion.Group)
	}
	return Verdict{}
}
