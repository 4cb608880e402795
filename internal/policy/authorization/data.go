package authorization

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/document"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// refers has one Reference for each document that conditions name, and one for the module. What they find in it is read
// with the rules.
func refers(s *v1alpha1.Authorization) (out []room.Reference) {
	const denied = "until then everything is denied"
	switch {
	case s.Rego == nil:
	case s.Rego.Remote != nil:
		from := room.Remote{URL: s.Rego.Remote.URL, SHA256: s.Rego.Remote.SHA256}
		out = append(out, room.Reference{Field: ".rego.remote", Remote: from, Kept: Fetched, Aside: true, Instead: denied})
	case s.Rego.ConfigMapRef != nil:
		ref := *s.Rego.ConfigMapRef
		out = append(out, room.Reference{
			Field: ".rego.configMapRef", ConfigMap: ref.Name, Key: ref.Key, Check: opa.CheckModule, Aside: true,
			Before: func(namespace string) string { return Before(namespace, ref) }, Instead: denied,
		})
	}
	for i, r := range s.Rules {
		for j, c := range r.When {
			if c.Data == nil {
				continue
			}
			ref := c.Data.ConfigMapRef
			if slices.ContainsFunc(out, func(o room.Reference) bool { return o.ConfigMap == ref.Name && o.Key == ref.Key }) {
				continue
			}
			out = append(out, room.Reference{
				Field: fmt.Sprintf(".rules[%d].when[%d].data.configMapRef", i, j), ConfigMap: ref.Name, Key: ref.Key,
				Check: document.Check, Aside: true, Instead: "until then such rules let nobody in",
			})
		}
	}
	return out
}
