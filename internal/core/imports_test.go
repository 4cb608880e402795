package core

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/weft-mesh/weft/"

// TestThePureCoreReachesNothing: these packages, and what of this module they import, are functions
// of Kubernetes objects. They hold no client, no clock, no logger and no goroutine.
func TestThePureCoreReachesNothing(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range []string{"internal/incr", "internal/mesh", "internal/envoy", "internal/gateway", "internal/policy", "internal/sidecar", "internal/pki", "internal/smi", "internal/smi/metrics", "internal/opa", "internal/why"} {
		inspect(t, p, seen)
	}
	if len(seen) < 6 {
		t.Fatalf("only %d packages were looked at", len(seen))
	}
}

// edges are packages that pure ones may import for what they declare: the inbox's lock is not theirs.
var edges = map[string]bool{"internal/cluster": true, "api/v1alpha1": true}

func inspect(t *testing.T, pkg string, seen map[string]bool) {
	if seen[pkg] {
		return
	}
	seen[pkg] = true
	files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pkg, len(files), err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !edges[pkg] {
			impure(t, pkg, f, string(source))
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f, source, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			if own, is := strings.CutPrefix(path, module); is {
				inspect(t, own, seen)
			}
		}
	}
}

// wanted is what a package may have all the same: OPA's evaluator takes a context, which here is never cancelled.
var wanted = map[string]string{"internal/opa": `"context"`}

func impure(t *testing.T, pkg, file, source string) {
	for _, word := range []string{
		`"k8s.io/client-go`, `"sigs.k8s.io/controller-runtime`, `"github.com/go-logr`, `"log"`, `"log/`, `"os"`, `"context"`,
		"time.Now(", "time.Since(", "time.After(", "\tgo func", "\tgo ",
	} {
		if strings.Contains(source, word) && word != wanted[pkg] {
			t.Errorf("%s has %s", file, strings.TrimSpace(word))
		}
	}
}
