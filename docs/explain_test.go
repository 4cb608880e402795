package docs

import (
	"os"
	"path/filepath"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// TestEveryFieldIsExplained: `kubectl explain` has a text for each field of Weft's own kinds, those too
// whose type is taken from elsewhere.
func TestEveryFieldIsExplained(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d CRDs: %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &crd); err != nil {
			t.Fatal(err)
		}
		for _, version := range crd.Spec.Versions {
			if explained(t, crd.Spec.Names.Plural, version.Schema.OpenAPIV3Schema) < 40 {
				t.Errorf("%s: hardly a field: were all found?", file)
			}
		}
	}
}

// explained wants a text for each field below a path, and counts them.
func explained(t *testing.T, path string, schema *apiextensionsv1.JSONSchemaProps) int {
	for schema.Items != nil {
		schema = schema.Items.Schema
	}
	count := 0
	for name, property := range schema.Properties {
		if property.Description == "" && name != "metadata" {
			t.Errorf("%s.%s has no description", path, name)
		}
		count += 1 + explained(t, path+"."+name, &property)
	}
	return count
}
