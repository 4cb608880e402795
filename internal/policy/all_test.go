package policy

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// sections are the names of the fields of a MeshPolicy's spec that are sections.
func sections(t *testing.T) (names []string) {
	t.Helper()
	spec := reflect.TypeFor[v1alpha1.MeshPolicySpec]()
	for i := range spec.NumField() {
		name, _, _ := strings.Cut(spec.Field(i).Tag.Get("json"), ",")
		if name != "targetRefs" && name != "mode" {
			names = append(names, name)
		}
	}
	return names
}

// TestEverySectionHasARoom: what can be written is heeded.
func TestEverySectionHasARoom(t *testing.T) {
	var rooms []string
	for _, r := range All {
		rooms = append(rooms, r.Name)
		if len(r.On) == 0 || r.Has(&v1alpha1.MeshPolicySpec{}) {
			t.Errorf("%s is about %v, and is in an empty policy: %v", r.Name, r.On, r.Has(&v1alpha1.MeshPolicySpec{}))
		}
	}
	if want := sections(t); !slices.Equal(slices.Sorted(slices.Values(rooms)), slices.Sorted(slices.Values(want))) {
		t.Errorf("rooms %v, sections %v", rooms, want)
	}
}

// TestWaitedForComesLast: of the sections that guard, the one whose filter waits for an answer is the last, for those after
// it would be passed over.
func TestWaitedForComesLast(t *testing.T) {
	var last string
	for _, r := range All {
		if r.Guarded() {
			last = r.Name
		}
	}
	if last != "extAuth" {
		t.Errorf("%s comes after extAuth", last)
	}
}

// TestShadowIsRefusedElsewhere: the rule of the CRD that refuses mode Shadow knows every section that
// cannot be shadowed.
func TestShadowIsRefusedElsewhere(t *testing.T) {
	rule := shadowRule(t)
	for _, r := range All {
		named, refused := strings.Contains(rule, "has(self."+r.Name+")"), strings.Contains(rule, "!has(self."+r.Name+")")
		if !named || refused == r.Shadow {
			t.Errorf("%s can be shadowed: %v; the rule of the CRD is %s", r.Name, r.Shadow, rule)
		}
	}
}

func shadowRule(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../config/crd/bases/mesh.weft.dev_meshpolicies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd any
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	version := at(at(crd, "spec"), "versions").([]any)[0]
	spec := at(at(at(at(at(version, "schema"), "openAPIV3Schema"), "properties"), "spec"), "x-kubernetes-validations")
	for _, v := range spec.([]any) {
		if rule := at(v, "rule").(string); strings.HasPrefix(rule, "self.mode != 'Shadow'") {
			return rule
		}
	}
	t.Fatal("no rule is about Shadow")
	return ""
}

func at(tree any, field string) any { return tree.(map[string]any)[field] }
