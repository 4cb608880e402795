package stories

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/e2e/stage"
)

// shell is kubectl in the namespace of a scene.
type shell struct {
	*stage.Scene
	t    *testing.T
	tool string
}

func newShell(t *testing.T, s *stage.Scene) *shell {
	t.Helper()
	sh := &shell{Scene: s, t: t, tool: "kubectl"}
	if s.Local {
		var err error
		if sh.tool, err = s.Cluster(t.Context(), "tool", "kubectl"); err != nil {
			t.Fatal(err)
		}
	}
	return sh
}

// run returns what kubectl prints. That it fails is an error, which says what it complained of.
func (s *shell) run(args ...string) (string, error) {
	command := exec.CommandContext(s.t.Context(), s.tool, append([]string{"--kubeconfig", s.Kubeconfig, "--namespace", s.Namespace}, args...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// does wants kubectl to succeed.
func (s *shell) does(args ...string) string {
	s.t.Helper()
	out, err := s.run(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// file is one of the story's own with that content.
func (s *shell) file(text string) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "objects.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// TestKubectl: kubectl alone explains every field, waits for what is healthy, finds no difference after
// what we ship as samples was applied, refuses to overwrite what another manages, and lists what matters;
// and kstatus, by which Flux waits, says of each object what its status means.
func TestKubectl(t *testing.T) {
	s := newShell(t, stage.New(t, "kubectl"))
	if err := s.InstallSMI(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.explains("meshes", "mesh.weft.dev", 40)
	s.explains("meshpolicies", "mesh.weft.dev", 40)
	s.explains("trafficsplits", "split.smi-spec.io", 15)
	s.explains("traffictargets", "access.smi-spec.io", 15)
	s.explains("httproutegroups", "specs.smi-spec.io", 10)
	s.withoutMesh()
	t.Cleanup(s.withoutMesh)
	s.samples()
	s.does("apply", "--filename", s.file("{apiVersion: mesh.weft.dev/v1alpha1, kind: Mesh, metadata: {name: default}}"))
	s.does("apply", "--filename", s.file(manifest(t, "kubectl.yaml")))
	s.waits()
	s.kstatus()
	s.lists()
	s.conflicts()
}

// withoutMesh deletes the Mesh if there is one.
func (s *shell) withoutMesh() {
	mesh := &v1alpha1.Mesh{}
	mesh.Name = v1alpha1.MeshName
	if err := client.IgnoreNotFound(s.Delete(context.Background(), mesh)); err != nil {
		s.t.Errorf("delete the Mesh: %v", err)
	}
}

// explains wants a text for a kind, and for each of its fields at every depth, which are at least so many.
func (s *shell) explains(plural, group string, atLeast int) {
	s.t.Helper()
	var crd apiextensionsv1.CustomResourceDefinition
	if err := s.Get(s.t.Context(), client.ObjectKey{Name: plural + "." + group}, &crd); err != nil {
		s.t.Fatal(err)
	}
	newest := crd.Spec.Versions[len(crd.Spec.Versions)-1]
	fields := 0
	for path, names := range objectsIn(plural, newest.Schema.OpenAPIV3Schema) {
		out := s.does("explain", path)
		for _, nothing := range []string{"<no description>", "<empty>"} {
			if strings.Contains(out, nothing) {
				s.t.Errorf("kubectl explain %s: something has no text:\n%s", path, out)
			}
		}
		for _, name := range names {
			fields++
			if !strings.Contains(out, "\n  "+name+"\t<") {
				s.t.Errorf("kubectl explain %s: no field %s:\n%s", path, name, out)
			}
		}
	}
	s.Step("kubectl explains %s with %d fields", plural, fields)
	if fields < atLeast {
		s.t.Errorf("%s has %d fields: were all found?", plural, fields)
	}
}

// objectsIn are the paths below a schema at which there are fields, with their names.
func objectsIn(path string, schema *apiextensionsv1.JSONSchemaProps) map[string][]string {
	for schema.Items != nil {
		schema = schema.Items.Schema
	}
	if len(schema.Properties) == 0 {
		return nil
	}
	all := map[string][]string{path: slices.Collect(maps.Keys(schema.Properties))}
	for name, property := range schema.Properties {
		maps.Copy(all, objectsIn(path+"."+name, &property))
	}
	return all
}

// samples applies each of config/samples and wants kubectl to see no difference afterwards, when Weft has
// looked at it. That of identities would change the roots of the mesh and is left out.
func (s *shell) samples() {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Root, "config", "samples", "*.yaml"))
	if err != nil || len(files) < 5 {
		s.t.Fatalf("%d samples: %v", len(files), err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		if name == "kustomization.yaml" || name == "mesh_v1alpha1_mesh_identity.yaml" {
			continue
		}
		file := s.file(s.sample(path))
		s.does("apply", "--filename", file)
		if strings.HasPrefix(name, "mesh_") {
			s.does("wait", "--filename", s.file(s.sample(path, "ConfigMap")), "--for=jsonpath={.status.observedGeneration}=1", "--timeout=60s")
		}
		if out, err := s.run("diff", "--filename", file); err != nil {
			s.t.Errorf("kubectl diff finds what nobody changed in %s: %v\n%s", name, err, out)
		}
		s.does("delete", "--wait=false", "--filename", file)
	}
}

// sample is the text of one, with its objects in the scene's namespace and without namespaces of their own, or objects
// of some other kinds.
func (s *shell) sample(path string, without ...string) string {
	s.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	here := strings.NewReplacer("namespace: shop", "namespace: "+s.Namespace, "namespace: infra", "namespace: "+s.Namespace)
	objects, err := stage.Decode(here.Replace(string(text)))
	if err != nil {
		s.t.Fatal(err)
	}
	var kept []string
	for _, object := range objects {
		one, err := yaml.Marshal(object.Object)
		if err != nil {
			s.t.Fatal(err)
		}
		if kind := object.GetKind(); kind != "Namespace" && !slices.Contains(without, kind) {
			kept = append(kept, string(one))
		}
	}
	return strings.Join(kept, "---\n")
}

// waits has kubectl wait for each kind as a script would.
func (s *shell) waits() {
	s.t.Helper()
	for _, args := range [][]string{
		{"gatewayclass/weft", "--for=condition=Accepted"},
		{"gateway/front", "--for=condition=Accepted"},
		{"gateway/front", "--for=condition=Programmed"},
		{"httproute/shop", `--for=jsonpath={.status.parents[0].conditions[?(@.type=="Accepted")].status}=True`},
		{"meshpolicy/strict", "--for=condition=Ready"},
		{"meshpolicy/loose", "--for=condition=Stalled"},
		{"mesh/default", "--for=condition=Ready"},
	} {
		s.does(append([]string{"wait", "--timeout=120s"}, args...)...)
	}
}

// kstatus wants of each object what its status means, and of one that was changed a moment ago that it is
// under way.
func (s *shell) kstatus() {
	s.t.Helper()
	for object, want := range map[string]status.Status{
		"mesh/default": status.CurrentStatus, "meshpolicy/strict": status.CurrentStatus, "meshpolicy/loose": status.FailedStatus,
		"gateway/front": status.CurrentStatus, "httproute/shop": status.CurrentStatus, "gatewayclass/weft": status.CurrentStatus,
	} {
		s.computed(want, "get", object)
	}
	for object, change := range map[string]string{
		"mesh/default": `{"spec":{"gateways":{"replicas":3}}}`, "meshpolicy/strict": `{"spec":{"mode":"Shadow"}}`,
	} {
		s.computed(status.InProgressStatus, "patch", object, "--type=merge", "--patch="+change, "--dry-run=server")
	}
}

// computed wants kstatus to say something of the object that kubectl prints.
func (s *shell) computed(want status.Status, args ...string) {
	s.t.Helper()
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON([]byte(s.does(append(args, "--output=json")...))); err != nil {
		s.t.Fatal(err)
	}
	result, err := status.Compute(object)
	if err != nil || result.Status != want {
		conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
		s.t.Errorf("kubectl %v: kstatus says %+v (%v), want %s; conditions: %v", args, result, err, want, conditions)
	}
}

// lists wants the columns of Weft's kinds, by their short names too.
func (s *shell) lists() {
	s.t.Helper()
	for _, table := range []struct {
		args []string
		rows []string // how lines begin, spaces taken together
	}{
		{[]string{"meshpolicies"}, []string{"NAME READY REASON MODE PROXIES AGE", "loose False Conflicted Enforce 0/0", "strict True Enforced Enforce 0/0"}},
		{[]string{"mp"}, []string{"NAME READY"}},
		{[]string{"mesh"}, []string{"NAME READY REASON ROOTS AGE", "default True Serving"}},
		{[]string{"mesh", "--output=wide"}, []string{"NAME READY REASON ROOTS TRUST DOMAIN AGE"}},
		{[]string{"gateways"}, []string{"NAME CLASS ADDRESS PROGRAMMED AGE", "front weft"}},
	} {
		out := s.does(append([]string{"get"}, table.args...)...)
		var lines []string
		for line := range strings.Lines(out) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		for _, row := range table.rows {
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, row) }) {
				s.t.Errorf("kubectl get %v has no line %q:\n%s", table.args, row, out)
			}
		}
	}
}

// conflicts has two tools apply one policy on the server's side: the second is refused and told who was
// first, the first goes on although Weft writes the status, and what it said stays.
func (s *shell) conflicts() {
	s.t.Helper()
	policy := `{apiVersion: mesh.weft.dev/v1alpha1, kind: MeshPolicy, metadata: {name: contested}, spec: {egress: {mode: %s}}}`
	first, second := s.file(fmt.Sprintf(policy, "Deny")), s.file(fmt.Sprintf(policy, "Allow"))
	s.does("apply", "--server-side", "--field-manager=argocd", "--filename", first)
	s.does("wait", "meshpolicy/contested", "--for=condition=Ready", "--timeout=60s")
	out, err := s.run("apply", "--server-side", "--field-manager=helm", "--filename", second)
	if err == nil || !strings.Contains(out, `conflict with "argocd"`) || !strings.Contains(out, ".spec.egress.mode") {
		s.t.Errorf("a second manager is not told of the conflict: %v", errors.Join(err, errors.New(out)))
	}
	s.does("apply", "--server-side", "--field-manager=argocd", "--filename", first)
	s.Until(10*time.Second, "the first one's word stands", func(ctx context.Context) error {
		p := &v1alpha1.MeshPolicy{}
		if err := s.Get(ctx, s.Key("contested"), p); err != nil {
			return err
		}
		if p.Spec.Egress == nil || p.Spec.Egress.Mode != "Deny" || p.Status.ObservedGeneration != p.Generation {
			return fmt.Errorf("it is %+v", p.Spec.Egress)
		}
		return nil
	})
}
