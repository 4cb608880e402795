package mesh

import (
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"
	"sigs.k8s.io/gateway-api/pkg/features"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
)

// MeshControllerName is the one that an XMesh names to show what Weft's mesh can do.
const MeshControllerName gwv1.GatewayController = "mesh.weft.dev/mesh-controller"

// xmesh is the kind of Gateway API that shows what a mesh can do.
const xmesh = "XMesh"

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

// controllerDomain begins the names of all Weft's controllers, and no other's.
const controllerDomain = "mesh.weft.dev/"

// misnamed says what is wrong with a name of Weft's domain in an object for the controller own. The field
// cannot be changed.
func misnamed(name, own gwv1.GatewayController, kind string) Verdict {
	if name == own {
		return Verdict{}
	}
	return wrong("Invalid", "spec.controllerName: %s is none that serves this kind, so that nothing comes of it. It cannot be changed: delete the %s, and create it anew with controllerName: %s", name, kind, own)
}

// XMeshStatus is the status of an XMesh; nil when its controller is another's.
func (m *Mesh) XMeshStatus(q *incr.Query, name string) *gwx.MeshStatus {
	x, ok := m.XMeshes.Get(q, name)
	if !ok || !strings.HasPrefix(string(x.Spec.ControllerName), controllerDomain) {
		return nil
	}
	bad := first(misnamed(x.Spec.ControllerName, MeshControllerName, xmesh), m.xmeshParameters(q, x.Spec.ParametersRef))
	st := &gwx.MeshStatus{}
	st.Conditions = append(st.Conditions, holds(gwx.MeshConditionAccepted, x.Generation, bad, gwx.MeshReasonAccepted, "Weft's sidecars serve the routes of Services."))
	if x.Spec.ControllerName != MeshControllerName {
		return st
	}
	for _, f := range slices.Sorted(slices.Values(MeshFeatures)) {
		st.SupportedFeatures = append(st.SupportedFeatures, gwv1.SupportedFeature{Name: gwv1.FeatureName(f)})
	}
	return st
}

// xmeshParameters looks at an XMesh's parameters, which can only be Weft's own Mesh.
func (m *Mesh) xmeshParameters(q *incr.Query, ref *gwv1.ParametersReference) Verdict {
	if ref == nil {
		return Verdict{}
	}
	const reason, field = gwx.MeshReasonInvalidParameters, "spec.parametersRef"
	group := v1alpha1.GroupVersion.Group
	settings := "the mesh's settings are those of " + group + " Mesh " + v1alpha1.MeshName + ", whether an XMesh names it or not"
	switch {
	case ref.Kind == "Mesh" && string(ref.Group) != group:
		return wrong(reason, "%s.group: %q has no kind Mesh that Weft reads: write %s, or remove the reference, for %s", field, ref.Group, group, settings)
	case string(ref.Group) != group:
		return wrong(reason, "%s: Weft reads nothing from %s %s of group %q: remove the reference, for %s", field, ref.Kind, ref.Name, ref.Group, settings)
	case ref.Kind != "Mesh":
		return wrong(reason, "%s.kind: %s gives no parameters: remove the reference, for %s", field, ref.Kind, settings)
	}
	var vs []Verdict
	if ref.Namespace != nil {
		vs = append(vs, wrong(reason, "%s.namespace: a Mesh has no namespace: remove %s", field, *ref.Namespace))
	}
	if _, ok := m.Meshes.Get(q, ref.Name); !ok {
		vs = append(vs, wrong(reason, "%s.name: Mesh %s does not exist: %s", field, ref.Name, remedyOfMesh(ref.Name)))
	}
	return join(vs)
}

// remedyOfMesh is for a Mesh that is not there: a cluster has one, of one name.
func remedyOfMesh(name string) string {
	if name == v1alpha1.MeshName {
		return "create it, or remove the reference, for nothing is missing without both"
	}
	return "it can only be called " + v1alpha1.MeshName
}
