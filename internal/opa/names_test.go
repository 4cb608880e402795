package opa

import (
	"fmt"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// TestNamesIn: what is asked for by name is found wherever it stands.
func TestNamesIn(t *testing.T) {
	t.Parallel()
	a, b := &v1alpha1.Authorization{}, &v1alpha1.Authorization{}
	for text, to := range map[string]*v1alpha1.Authorization{
		`{rules: [{name: a, from: [{jwt: {subjects: [s]}}], to: [{headers: [{name: x-b}]}], when: [
			{attribute: "jwt.claims[org][unit]", operator: In, attributes: ["destination.labels[app]", "request.headers[x-a]"]},
			{attribute: "nonsense[", operator: Exists}]}]}`: a,
		`{roles: [{name: r, may: [{headers: [{name: x-b}]}], heldBy: [{jwt: {groups: [g]}}]}]}`: b,
	} {
		if err := yaml.Unmarshal([]byte(text), to); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(NamesIn(a, b)); got != "{[app] [x-a x-b] [groups org sub]}" {
		t.Error(got)
	}
}
