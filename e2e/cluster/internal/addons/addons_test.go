package addons

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/weft-mesh/weft/e2e/cluster/internal/build"
)

// objects decodes the manifests of an addon; fields that do not exist fail.
func objects(t *testing.T, manifests string) []runtime.Object {
	t.Helper()
	var list []runtime.Object
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		object, _, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		list = append(list, object)
	}
	return list
}

func TestPodsAreConfinedAndUseOurImages(t *testing.T) {
	var images []string
	for _, artifact := range build.Artifacts {
		images = append(images, artifact.Image)
	}
	for _, object := range append(objects(t, coreDNS), objects(t, certManager)...) {
		deployment, ok := object.(*appsv1.Deployment)
		if !ok {
			continue
		}
		pod := deployment.Spec.Template.Spec
		container := pod.Containers[0]
		if !slices.Contains(images, container.Image) {
			t.Errorf("no artifact makes image %s of Deployment %s", container.Image, deployment.Name)
		}
		context := container.SecurityContext
		if !*pod.SecurityContext.RunAsNonRoot || !*context.ReadOnlyRootFilesystem || *context.AllowPrivilegeEscalation || context.Capabilities.Drop[0] != "ALL" {
			t.Errorf("Deployment %s is not confined: %+v", deployment.Name, context)
		}
	}
}

func TestRolesHaveNoWildcards(t *testing.T) {
	for _, object := range append(objects(t, coreDNS), objects(t, certManager)...) {
		role, ok := object.(*rbacv1.ClusterRole)
		if !ok {
			continue
		}
		for _, rule := range role.Rules {
			words := slices.Concat(rule.Verbs, rule.Resources, rule.APIGroups, rule.NonResourceURLs)
			if slices.Contains(words, "*") {
				t.Errorf("ClusterRole %s has a wildcard: %v", role.Name, rule)
			}
		}
	}
}
