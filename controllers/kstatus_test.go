package controllers

import (
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// TestKstatus: what tools that wait by kstatus, such as Flux, make of a Mesh and of a MeshPolicy as the
// API server has them: before anybody looked at them, in each state, and after a change.
func TestKstatus(t *testing.T) {
	config := apiServer(t)
	installMesh(t, config)
	c := newClient(t, config)
	live := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}}
	policy := policyNamed(t, "strict", "mtls: {mode: Strict}")
	create(t, c, live, policy)
	waited(t, c, "MeshPolicy", policy, status.InProgressStatus, "that nobody has looked at")
	waited(t, c, "Mesh", live, status.InProgressStatus, "that nobody has looked at")

	m := &MeshStatus{
		Client:   c,
		Proxies:  func() v1alpha1.ProxySummary { return v1alpha1.ProxySummary{} },
		Identity: func() *v1alpha1.IdentityStatus { return nil },
		Sidecars: func(v1alpha1.SidecarDefaults) (v1alpha1.SidecarSummary, error) {
			return v1alpha1.SidecarSummary{}, nil
		},
	}
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Serving"}
	changing := metav1.Condition{Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionTrue, Reason: "RootChange"}
	for _, state := range []struct {
		what       string
		conditions []metav1.Condition
		want       status.Status
	}{
		{"that waits", notReady(v1alpha1.ConditionReconciling, "CertificatePending", "soon"), status.InProgressStatus},
		{"that needs a person", notReady(v1alpha1.ConditionStalled, "CertificateFailed", "never"), status.FailedStatus},
		{"that serves", []metav1.Condition{ready}, status.CurrentStatus},
		{"whose root changes", []metav1.Condition{ready, changing}, status.InProgressStatus},
		{"that serves again", []metav1.Condition{ready}, status.CurrentStatus},
	} {
		if err := m.write(t.Context(), live, state.conditions); err != nil {
			t.Fatal(err)
		}
		waited(t, c, "Mesh", live, state.want, state.what)
	}
	live.Spec.Gateways.Replicas = new(int32(3))
	if err := c.Update(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	waited(t, c, "Mesh", live, status.InProgressStatus, "that was changed")
}

// waited wants kstatus to say something of an object as the API server has it.
func waited(t *testing.T, c client.Client, kind string, object client.Object, want status.Status, what string) {
	t.Helper()
	now := &unstructured.Unstructured{}
	now.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(object), now); err != nil {
		t.Fatal(err)
	}
	result, err := status.Compute(now)
	if err != nil || result.Status != want {
		t.Errorf("a %s %s is %+v (%v), want %s", kind, what, result, err, want)
	}
}
