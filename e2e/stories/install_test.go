package stories

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/e2e/stage"
)

// TestInstall does what the README says, with kubectl.
func TestInstall(t *testing.T) {
	s := stage.New(t, "install")
	run := func(args ...string) string {
		t.Helper()
		out, err := s.Kubectl(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	run("apply", "--server-side", "--force-conflicts", "-f", "dist/install.yaml")
	if text := run("explain", "mesh.spec.gateways"); !strings.Contains(text, "replicas") {
		t.Errorf("kubectl explain mesh.spec.gateways does not tell of replicas:\n%s", text)
	}
	backend(t, s, "shop", "drain", "", 1)
	s.Apply(manifest(t, "lifecycle.yaml", "$PARAMETERS", "one-proxy"))
	s.Rollout("shop")

	// Without a Mesh all defaults apply.
	mesh := &v1alpha1.Mesh{}
	mesh.Name = v1alpha1.MeshName
	if err := s.Delete(t.Context(), mesh); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	s.Gateway("life").Answers(time.Minute, "shop.test", "/api", 200)

	// An empty one says how Weft is.
	s.Apply("{apiVersion: mesh.weft.dev/v1alpha1, kind: Mesh, metadata: {name: default}}")
	s.Until(time.Minute, "Mesh default is ready", func(ctx context.Context) error {
		if err := s.Get(ctx, client.ObjectKeyFromObject(mesh), mesh); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(mesh.Status.Conditions, v1alpha1.ConditionReady) {
			return errors.New("it is not")
		}
		return nil
	})
	if text := run("get", "meshes"); !strings.Contains(text, "True") {
		t.Errorf("kubectl get meshes does not show that it is ready:\n%s", text)
	}
	run("apply", "--dry-run=server", "-k", samples(t, s))
	s.Gateway("life").Answers(time.Minute, "shop.test", "/api", 200)
}

// samples are those of config/samples, put into the namespace of a scene: on a dry run the API server
// makes no namespace for what comes after it.
func samples(t *testing.T, s *stage.Scene) string {
	t.Helper()
	folder := t.TempDir()
	all, err := filepath.Rel(folder, filepath.Join(s.Root, "config", "samples"))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("namespace: %s\nresources: [%s]\n", s.Namespace, all)
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}
