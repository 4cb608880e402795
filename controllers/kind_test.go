package controllers

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// TestMeshKind: what the API server makes of a Mesh before any operator sees it.
func TestMeshKind(t *testing.T) {
	config := apiServer(t)
	installMesh(t, config)
	c := newClient(t, config)

	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}}
	m.Spec.IssuerRef = &v1alpha1.IssuerReference{Name: "corporate"}
	create(t, c, m)
	if ref := m.Spec.IssuerRef; ref.Kind != "Issuer" || ref.Group != "cert-manager.io" {
		t.Errorf("defaults of issuerRef: %+v", ref)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(m), m); err != nil {
		t.Fatal(err)
	}
	if ready := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady); ready == nil || ready.Status != metav1.ConditionUnknown {
		t.Errorf("a fresh Mesh counts as ready: %+v", m.Status)
	}

	for _, refused := range []struct {
		mesh v1alpha1.Mesh
		why  string
	}{
		{v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "second"}}, "its name is default"},
		{meshWith(v1alpha1.IssuerReference{Name: "x", Kind: "ClusterIsuer"}), "spec.issuerRef.kind: Invalid value"},
		{v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}, Spec: v1alpha1.MeshSpec{
			Gateways: v1alpha1.GatewayDefaults{Replicas: new(int32(0))},
		}}, "spec.gateways.replicas"},
		{v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}, Spec: v1alpha1.MeshSpec{
			Telemetry: v1alpha1.Telemetry{AccessLogs: v1alpha1.AccessLogErrors, SamplePercent: new(int32(5))},
		}}, "only accessLogs: Sampled has a samplePercent"},
	} {
		err := c.Create(t.Context(), &refused.mesh, client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), refused.why) {
			t.Errorf("%+v: %v, want %q", refused.mesh.Spec, err, refused.why)
		}
	}
	m.Spec.IssuerRef = &v1alpha1.IssuerReference{Name: "pca", Kind: "AWSPCAIssuer", Group: "awspca.cert-manager.io"}
	if err := c.Update(t.Context(), m); err != nil {
		t.Errorf("an external issuer: %v", err)
	}
}

func meshWith(ref v1alpha1.IssuerReference) v1alpha1.Mesh {
	return v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}, Spec: v1alpha1.MeshSpec{IssuerRef: &ref}}
}
