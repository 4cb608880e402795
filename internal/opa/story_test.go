package opa_test

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/parser"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/opa"
)

var update = flag.Bool("update", false, "write what comes out")

func policyOf(t testing.TB, text []byte) opa.Policy {
	t.Helper()
	says := &v1alpha1.Authorization{}
	if err := yaml.UnmarshalStrict(text, says); err != nil {
		t.Fatal(err)
	}
	return opa.Policy{Key: "shop/cart", Authorization: says, TrustDomain: "mesh.test", GatewayAccount: func(_, name string) string { return name + "-gateway" }}
}

var cart = opa.Destination{Namespace: "shop", ServiceAccount: "cart", Labels: map[string]string{"team": "payments"}}

// TestStories: a rule as it is written, in Rego, and in Envoy's words.
func TestStories(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			story, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := policyOf(t, story.Files[0].Data)
			c := opa.Compile(p)
			rules, problems := c.For(cart)
			out := &txtar.Archive{Comment: story.Comment, Files: []txtar.File{story.Files[0], {Name: "policy.rego", Data: []byte(p.Module())}}}
			out.Files = append(out.Files, txtar.File{Name: "rules.txt", Data: []byte(told(append(c.Problems, problems...), rules))})
			levels := []opa.Level{{Rules: rules, Claims: "claims"}}
			var all []byte
			for _, rbac := range opa.Requests(levels) {
				conditions := readably(t, rbac)
				text, err := protojson.Marshal(rbac)
				if err != nil {
					t.Fatal(err)
				}
				pretty, err := yaml.JSONToYAML(text)
				if err != nil {
					t.Fatal(err)
				}
				all = append(append(append(all, "---\n"...), conditions...), pretty...)
			}
			out.Files = append(out.Files, txtar.File{Name: "requests.yaml", Data: all})
			out.Files = append(out.Files, txtar.File{Name: "connection.cel", Data: []byte(opa.Connection(levels) + "\n")})
			if got := txtar.Format(out); *update {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			} else if want, err := os.ReadFile(file); err != nil || string(want) != string(got) {
				t.Errorf("%v\n%s", err, got)
			}
		})
	}
}

// readably takes the conditions out, as text.
func readably(t *testing.T, rbac *rbacv3.RBAC) (out string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(rbac.Policies)) {
		p := rbac.Policies[name]
		if p.Condition == nil {
			continue
		}
		e, err := ast.ProtoToExpr(p.Condition)
		if err != nil {
			t.Fatal(err)
		}
		text, err := parser.Unparse(e, ast.NewSourceInfo(nil))
		if err != nil {
			t.Fatal(err)
		}
		out += "# " + name + " if " + text + "\n"
		p.Condition = nil
	}
	return out
}

func told(problems []opa.Problem, rules []opa.Rule) string {
	var out strings.Builder
	for _, p := range problems {
		out.WriteString("problem: " + p.Field + ": " + p.What + "\n")
	}
	for _, r := range rules {
		by, why := r.By()
		out.WriteString(r.Name + ": " + string(by) + " " + why + "\n")
	}
	return out.String()
}
