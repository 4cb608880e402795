package controllers

import (
	"context"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
)

// TestSnapshot: who has what docs/why.md says is needed, and no more, can ask who may call whom, where some kinds are
// not installed too. Who has not is told which kind could not be listed.
func TestSnapshot(t *testing.T) {
	config := apiServer(t)
	installMesh(t, config)
	admin := newClient(t, config)
	create(t, admin,
		&v1alpha1.MeshPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "all"}, Spec: v1alpha1.MeshPolicySpec{Authorization: &v1alpha1.Authorization{}}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "unread"}},
	)
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	as := rest.CopyConfig(config)
	as.Impersonate = rest.ImpersonationConfig{UserName: "asker", Groups: []string{"system:authenticated"}}
	asker, err := client.New(as, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Snapshot(t.Context(), asker, scheme); err == nil || !strings.Contains(err.Error(), "list Service in all namespaces") {
		t.Errorf("without a role: %v", err)
	}
	role := documentedRole(t)
	bind := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "asker"}},
	}
	create(t, admin, role, bind)
	var m *mesh.Mesh
	eventually(t, "the role is heeded", func(ctx context.Context) bool {
		m, err = Snapshot(ctx, asker, scheme)
		return err == nil
	}, func() string { return err.Error() })
	if _, ok := m.MeshPolicies.Get(nil, "default/all"); !ok {
		t.Error("there is no policy")
	}
	if _, ok := m.Secrets.Get(nil, "default/unread"); ok {
		t.Error("a Secret was read")
	}
}

// documentedRole is the one that the manual has.
func documentedRole(t *testing.T) *rbacv1.ClusterRole {
	t.Helper()
	text, err := os.ReadFile("../docs/why.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "```yaml\napiVersion: rbac.authorization.k8s.io/v1\n")
	block, _, found := strings.Cut(after, "```")
	out := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict([]byte("apiVersion: rbac.authorization.k8s.io/v1\n"+block), out); err != nil || !found {
		t.Fatalf("docs/why.md has no ClusterRole: %v", err)
	}
	return out
}
