// Package docs holds nothing but a test of the manual.
package docs

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	clientgo "k8s.io/client-go/kubernetes/scheme"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"github.com/weft-mesh/weft/api/smi"
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/document"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/opa"
)

const root = ".."

// pages are the manual's pages by their path below the root, with their text.
func pages(t *testing.T) map[string]string {
	t.Helper()
	paths := []string{"README.md", "CONTRIBUTING.md"}
	err := fs.WalkDir(os.DirFS(root), "docs", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d pages: %v", len(paths), err)
	}
	all := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		all[path] = string(text)
	}
	return all
}

var (
	fenced  = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	unnamed = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinks: what a relative link names is there, a heading too.
func TestLinks(t *testing.T) {
	all := pages(t)
	found := 0
	for path, text := range all {
		for _, l := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if strings.Contains(l[1], "://") {
				continue
			}
			found++
			file, fragment, _ := strings.Cut(l[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: link %s: %v", path, l[1], err)
			}
			if fragment != "" && !anchors(all[target])[fragment] {
				t.Errorf("%s: link %s: %s has no such heading", path, l[1], target)
			}
		}
	}
	if found == 0 {
		t.Error("no link was found")
	}
}

// anchors are the fragments by which GitHub names a page's headings.
func anchors(text string) map[string]bool {
	names := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		names[strings.ReplaceAll(unnamed.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return names
}

// TestExamples: every YAML example is of kinds and fields that exist, and Weft takes the parameters
// of a Gateway that it shows.
func TestExamples(t *testing.T) {
	decode := decoder(t)
	found := 0
	for path, text := range pages(t) {
		for _, block := range fenced.FindAllStringSubmatch(text, -1) {
			if block[1] != "yaml" {
				continue
			}
			for _, example := range bytes.Split([]byte(block[2]), []byte("\n---\n")) {
				if bytes.HasPrefix(example, []byte("apiVersion: flagger.app/")) {
					continue // TestFlagger applies it
				}
				found++
				object, _, err := decode.Decode(example, nil, nil)
				if err != nil {
					t.Errorf("%s: %v in\n%s", path, err, example)
				}
				if cm, ok := object.(*corev1.ConfigMap); ok {
					if problem := wrongIn(cm); problem != "" {
						t.Errorf("%s: ConfigMap %s: %s", path, cm.Name, problem)
					}
				}
			}
		}
	}
	if found == 0 {
		t.Error("no example was found")
	}
}

// wrongIn says what is wrong in a ConfigMap, which has documents, modules or parameters of a Gateway.
func wrongIn(cm *corev1.ConfigMap) (problem string) {
	documents := 0
	for key, text := range cm.Data {
		if strings.HasSuffix(key, document.Suffix) {
			documents, problem = documents+1, problem+document.Check(text)
		}
		if strings.HasSuffix(key, opa.ModuleSuffix) {
			documents, problem = documents+1, problem+opa.CheckModule(text)
		}
	}
	if documents > 0 {
		return problem
	}
	return gateway.Check(cm)
}

func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgo.AddToScheme, gwv1.Install, gwx.Install, cmv1.AddToScheme, v1alpha1.AddToScheme, smi.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(s, serializer.EnableStrict).UniversalDeserializer()
}

// TestMakeTargets: every `make` target that the manual names is one.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("(?m)(?:^|`)make ([a-z][a-z0-9-]*)")
	found := 0
	for path, text := range pages(t) {
		for _, target := range named.FindAllStringSubmatch(text, -1) {
			found++
			if !bytes.Contains(makefile, []byte("\n"+target[1]+":")) {
				t.Errorf("%s: make %s is no target of the Makefile", path, target[1])
			}
		}
	}
	if found == 0 {
		t.Error("no target was found")
	}
}
