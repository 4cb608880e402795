package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// The rules of the operator-framework's validators for bundles and for OperatorHub, over the bundle
// as it lies in the repository.
const written = "../../bundle"

// service is what the tests read of a ClusterServiceVersion.
type service struct {
	Metadata struct {
		Name        string
		Annotations map[string]string
	}
	Spec struct {
		Version, DisplayName, Description, MinKubeVersion string
		Provider                                          struct{ Name string }
		Maintainers                                       []struct{ Name, Email string }
		Links                                             []struct{ Name, URL string }
		Icon                                              []struct{ Base64data, Mediatype string }
		InstallModes                                      []struct {
			Type      string
			Supported bool
		}
		RelatedImages             []struct{ Name, Image string }
		Webhookdefinitions        []any
		Customresourcedefinitions struct {
			Owned []struct{ Name, Kind, Version, Description string }
		}
		Install struct{ Spec installation }
	}
}

type installation struct {
	ClusterPermissions, Permissions []struct {
		ServiceAccountName string
		Rules              []struct{ APIGroups, Resources, Verbs []string }
	}
	Deployments []struct {
		Spec struct {
			Template struct {
				Spec struct {
					ServiceAccountName string
					Containers         []struct {
						Image     string
						Resources struct{ Requests map[string]string }
					}
				}
			}
		}
	}
}

func bundle(t *testing.T) (csv service, others []*unstructured.Unstructured) {
	t.Helper()
	files, err := filepath.Glob(written + "/manifests/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".clusterserviceversion.yaml") {
			found++
			if err := yaml.Unmarshal(text, &csv); err != nil {
				t.Fatal(err)
			}
			continue
		}
		objects, err := decode(text)
		if err != nil || len(objects) != 1 {
			t.Fatalf("%s: %d objects, %v", file, len(objects), err)
		}
		others = append(others, objects[0])
	}
	if found != 1 {
		t.Fatalf("%d ClusterServiceVersions", found)
	}
	return csv, others
}

func TestVersion(t *testing.T) {
	csv, _ := bundle(t)
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(csv.Spec.Version) || csv.Metadata.Name != "weft.v"+csv.Spec.Version {
		t.Errorf("name %s, version %s", csv.Metadata.Name, csv.Spec.Version)
	}
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(csv.Spec.MinKubeVersion) {
		t.Errorf("minKubeVersion %q", csv.Spec.MinKubeVersion)
	}
}

func TestDescription(t *testing.T) {
	csv, _ := bundle(t)
	spec := csv.Spec
	if spec.DisplayName == "" || spec.Description == "" || spec.Provider.Name == "" || len(spec.Maintainers) == 0 || len(spec.Links) == 0 {
		t.Errorf("something is missing: %+v", spec)
	}
	for _, m := range spec.Maintainers {
		if _, err := mail.ParseAddress(m.Email); err != nil || m.Name == "" {
			t.Errorf("maintainer %+v: %v", m, err)
		}
	}
	for _, l := range spec.Links {
		if u, err := url.ParseRequestURI(l.URL); err != nil || u.Scheme != "https" || l.Name == "" {
			t.Errorf("link %+v: %v", l, err)
		}
	}
	if len(spec.Icon) != 1 || spec.Icon[0].Mediatype != "image/svg+xml" {
		t.Fatalf("icons: %+v", spec.Icon)
	}
	if picture, err := base64.StdEncoding.DecodeString(spec.Icon[0].Base64data); err != nil || !bytes.HasPrefix(picture, []byte("<svg")) {
		t.Errorf("icon: %v, %.20s", err, picture)
	}
}

func TestAnnotations(t *testing.T) {
	csv, _ := bundle(t)
	a := csv.Metadata.Annotations
	levels := []string{"Basic Install", "Seamless Upgrades", "Full Lifecycle", "Deep Insights", "Auto Pilot"}
	if !slices.Contains(levels, a["capabilities"]) {
		t.Errorf("capabilities %q", a["capabilities"])
	}
	standard := []string{"Monitoring", "Networking", "Security", "Observability", "Integration & Delivery", "Logging & Tracing"}
	for category := range strings.SplitSeq(a["categories"], ",") {
		if !slices.Contains(standard, strings.TrimSpace(category)) {
			t.Errorf("category %q", category)
		}
	}
	for _, key := range []string{"containerImage", "createdAt", "support", "repository", "description"} {
		if a[key] == "" {
			t.Errorf("annotation %s is missing", key)
		}
	}
}

func TestInstallModes(t *testing.T) {
	csv, _ := bundle(t)
	for _, mode := range csv.Spec.InstallModes {
		if mode.Supported != (mode.Type == "AllNamespaces") {
			t.Errorf("install mode %+v", mode)
		}
	}
	if len(csv.Spec.InstallModes) != 4 {
		t.Errorf("%d install modes", len(csv.Spec.InstallModes))
	}
	if len(csv.Spec.Webhookdefinitions) != 0 {
		t.Error("the operator makes its webhook itself: the CSV must not define one")
	}
}

func TestOwnedKindsAreThoseShipped(t *testing.T) {
	csv, others := bundle(t)
	owned := map[string]bool{}
	for _, o := range csv.Spec.Customresourcedefinitions.Owned {
		if owned[o.Name+"/"+o.Version] || o.Description == "" {
			t.Errorf("owned %+v: twice, or without description", o)
		}
		owned[o.Name+"/"+o.Version] = true
	}
	for _, crd := range ofKind(others, "CustomResourceDefinition") {
		versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
		for _, v := range versions {
			name := crd.GetName() + "/" + v.(object)["name"].(string)
			if !owned[name] {
				t.Errorf("%s is shipped and not owned", name)
			}
			delete(owned, name)
		}
	}
	if len(owned) != 0 {
		t.Errorf("owned and not shipped: %v", owned)
	}
}

func TestExamples(t *testing.T) {
	csv, _ := bundle(t)
	var examples []unstructured.Unstructured
	if err := json.Unmarshal([]byte(csv.Metadata.Annotations["alm-examples"]), &examples); err != nil {
		t.Fatal(err)
	}
	for _, o := range csv.Spec.Customresourcedefinitions.Owned {
		matches := func(e unstructured.Unstructured) bool {
			return e.GetKind() == o.Kind && strings.HasSuffix(e.GetAPIVersion(), "/"+o.Version)
		}
		if !slices.ContainsFunc(examples, matches) {
			t.Errorf("no example of %s", o.Kind)
		}
		examples = slices.DeleteFunc(examples, matches)
	}
	if len(examples) != 0 {
		t.Errorf("examples of kinds that are not ours: %v", examples)
	}
}

func TestObjects(t *testing.T) {
	csv, others := bundle(t)
	allowed := []string{
		"CustomResourceDefinition", "Secret", "ConfigMap", "Service", "ServiceAccount", "Role", "RoleBinding", "ClusterRole",
		"ClusterRoleBinding", "PrometheusRule", "ServiceMonitor", "PodDisruptionBudget", "PriorityClass", "ConsoleYAMLSample",
	}
	for _, o := range others {
		if !slices.Contains(allowed, o.GetKind()) || strings.Contains(o.GetAPIVersion(), "beta") || o.GetNamespace() != "" {
			t.Errorf("%s %s %s in namespace %q", o.GetAPIVersion(), o.GetKind(), o.GetName(), o.GetNamespace())
		}
		if o.GetKind() == "ServiceAccount" && o.GetName() == csv.Spec.Install.Spec.ClusterPermissions[0].ServiceAccountName {
			t.Error("the operator's ServiceAccount is the CSV's to make")
		}
	}
}

func TestRights(t *testing.T) {
	csv, _ := bundle(t)
	install := csv.Spec.Install.Spec
	for _, granted := range append(install.ClusterPermissions, install.Permissions...) {
		if granted.ServiceAccountName != install.Deployments[0].Spec.Template.Spec.ServiceAccountName {
			t.Errorf("rights of %s, which runs nothing", granted.ServiceAccountName)
		}
		for _, r := range granted.Rules {
			if slices.Contains(slices.Concat(r.APIGroups, r.Resources, r.Verbs), "*") {
				t.Errorf("a wildcard: %+v", r)
			}
			if slices.Contains(r.Resources, "customresourcedefinitions") && slices.Contains(r.Verbs, "create") {
				t.Errorf("the operator may create CRDs: %+v", r)
			}
		}
	}
	if len(install.ClusterPermissions) != 1 || len(install.Permissions) != 1 {
		t.Errorf("%d cluster permissions, %d permissions", len(install.ClusterPermissions), len(install.Permissions))
	}
}

func TestImages(t *testing.T) {
	csv, _ := bundle(t)
	tagged := regexp.MustCompile(`^[a-z0-9.]+(/[a-z0-9._-]+)+:[\w.-]+$`)
	var related []string
	for _, r := range csv.Spec.RelatedImages {
		if r.Name == "" || !tagged.MatchString(r.Image) || strings.HasSuffix(r.Image, ":latest") {
			t.Errorf("related image %+v", r)
		}
		related = append(related, r.Image)
	}
	for _, d := range csv.Spec.Install.Spec.Deployments {
		for _, c := range d.Spec.Template.Spec.Containers {
			if !slices.Contains(related, c.Image) || len(c.Resources.Requests) == 0 {
				t.Errorf("container of %s: not among relatedImages, or without resource requests", c.Image)
			}
		}
	}
	if len(csv.Spec.Install.Spec.Deployments) != 1 || csv.Metadata.Annotations["containerImage"] != related[0] {
		t.Errorf("containerImage %s, related %v", csv.Metadata.Annotations["containerImage"], related)
	}
}

func TestMetadata(t *testing.T) {
	var metadata struct{ Annotations map[string]string }
	text, err := os.ReadFile(written + "/metadata/annotations.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &metadata); err != nil {
		t.Fatal(err)
	}
	docker, err := os.ReadFile("../../bundle.Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range metadata.Annotations {
		if !strings.Contains(string(docker), "LABEL "+key+"="+value+"\n") {
			t.Errorf("bundle.Dockerfile lacks the label %s=%s", key, value)
		}
	}
	if n := strings.Count(string(docker), "LABEL "); n != len(metadata.Annotations) || metadata.Annotations["operators.operatorframework.io.bundle.mediatype.v1"] != "registry+v1" {
		t.Errorf("%d labels, annotations %v", n, metadata.Annotations)
	}
	if _, err := os.Stat(written + "/metadata/dependencies.yaml"); err == nil {
		t.Error("OLM v1 installs no bundle with dependencies")
	}
}

func TestSize(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	archive := tar.NewWriter(z)
	if err := archive.AddFS(os.DirFS(written)); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if packed.Len() > 1<<20 || packed.Len() < 1<<10 {
		t.Errorf("%d bytes", packed.Len())
	}
}
