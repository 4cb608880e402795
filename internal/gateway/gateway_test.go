package gateway

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

var update = flag.Bool("update", false, "write what the stories in testdata print")

// TestStories reads each testdata/*.txtar: a Gateway, and where there are such, a Mesh, ports of
// ListenerSets and ConfigMaps of parameters. The one called plain shows everything that it becomes; the others show what differs
// from that, or the problem.
func TestStories(t *testing.T) {
	plain := lines(t, load(t, "testdata/plain.txtar"))
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 5 {
		t.Fatalf("stories: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			story := load(t, file)
			got := lines(t, story)
			if file != "testdata/plain.txtar" && len(got) > 1 {
				got = difference(plain, got)
			}
			check(t, file, story, strings.Join(got, "\n")+"\n")
		})
	}
}

func load(t *testing.T, file string) *txtar.Archive {
	t.Helper()
	story, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return story
}

func check(t *testing.T, file string, story *txtar.Archive, got string) {
	t.Helper()
	at := slices.IndexFunc(story.Files, func(f txtar.File) bool { return f.Name == "out" })
	if *update {
		story.Files[at].Data = []byte(got)
		if err := os.WriteFile(file, txtar.Format(story), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(story.Files[at].Data); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func read(t *testing.T, story *txtar.Archive, name string, into any) bool {
	t.Helper()
	for _, f := range story.Files {
		if f.Name == name {
			if err := yaml.UnmarshalStrict(f.Data, into); err != nil {
				t.Fatal(err)
			}
			return true
		}
	}
	return false
}

// lines are the objects of a story, one line for each leaf.
func lines(t *testing.T, story *txtar.Archive) (out []string) {
	t.Helper()
	in := Input{Gateway: &gwv1.Gateway{}, Roots: []byte("ROOTS"), Envoy: sampleEnvoy}
	read(t, story, "gateway.yaml", in.Gateway)
	var settings v1alpha1.Mesh
	read(t, story, "mesh.yaml", &settings)
	in.Defaults = settings.Spec.Gateways
	read(t, story, "ports.yaml", &in.SetPorts)
	for _, name := range []string{"class.yaml", "parameters.yaml"} {
		var cm corev1.ConfigMap
		if !read(t, story, name, &cm) {
			continue
		}
		if problem := Check(&cm); problem != "" {
			return []string{name + ": " + problem}
		}
		p, _ := ParseParameters(&cm)
		in.Parameters = append(in.Parameters, p)
	}
	objects, problem := Objects(in)
	if problem != "" {
		return []string{problem}
	}
	for _, o := range objects {
		out = append(out, leaves(o.GetKind(), o.Object)...)
	}
	for _, k := range slices.Sorted(maps.Keys(Runtime(in.Parameters))) {
		out = append(out, fmt.Sprintf("runtime %s = %v", k, Runtime(in.Parameters)[k]))
	}
	return out
}

var sampleEnvoy = Envoy{
	Bootstrap:   `{"note":"$(HOME)"}`,
	Files:       []File{{"/etc/weft/token-sds/token.json", "TOKEN"}},
	TokenPath:   "/var/run/secrets/weft/token",
	RootsPath:   "/etc/weft/roots/ca.crt",
	ReadyPath:   "/ready",
	DrainPath:   "/drain",
	DrainHeader: corev1.HTTPHeader{Name: "x-drain", Value: "KEY"},
}

func leaves(path string, v any) (out []string) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, leaves(path+" "+k, v[k])...)
		}
	case []any:
		for i, e := range v {
			out = append(out, leaves(fmt.Sprintf("%s[%d]", path, i), e)...)
		}
	default:
		out = append(out, fmt.Sprintf("%s = %v", path, v))
	}
	return out
}

func difference(was, is []string) (out []string) {
	for _, l := range was {
		if !slices.Contains(is, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			out = append(out, "+ "+l)
		}
	}
	return out
}

func TestObjectsAreStable(t *testing.T) {
	in := Input{Gateway: sample, Envoy: sampleEnvoy}
	once, _ := Objects(in)
	again, _ := Objects(in)
	for i := range once {
		if !slices.Equal(leaves("", once[i].Object), leaves("", again[i].Object)) {
			t.Errorf("%s differs from one call to the next", once[i].GetKind())
		}
	}
}

func kinds(objects []*unstructured.Unstructured) (all []string) {
	for _, o := range objects {
		all = append(all, o.GetKind())
	}
	return all
}

func TestNoServiceWithoutPorts(t *testing.T) {
	g := sample.DeepCopy()
	g.Spec.Listeners = []gwv1.Listener{{Name: "ready", Port: ReadyPort, Protocol: gwv1.HTTPProtocolType}, {Name: "other", Port: 53, Protocol: "SCTP"}}
	objects, problem := Objects(Input{Gateway: g, Envoy: sampleEnvoy})
	if problem != "" || slices.Contains(kinds(objects), "Service") {
		t.Errorf("made %v, %q", kinds(objects), problem)
	}
}
