package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestEveryReasonIsExplained: docs/mistakes.md has a word on each reason that the code gives, and on no other.
func TestEveryReasonIsExplained(t *testing.T) {
	page, err := os.ReadFile("mistakes.md")
	if err != nil {
		t.Fatal(err)
	}
	given := reasons(t)
	if len(given) < 50 {
		t.Fatalf("only %d reasons were found: %v", len(given), given)
	}
	for _, reason := range given {
		if !strings.Contains(string(page), "`"+reason+"`") {
			t.Errorf("docs/mistakes.md says nothing of reason %s", reason)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| ((?:`[A-Z][A-Za-z]+`(?:, )?)+) \\| ").FindAllStringSubmatch(string(page), -1) {
		for _, reason := range strings.Split(strings.ReplaceAll(row[1], "`", ""), ", ") {
			if !slices.Contains(given, reason) {
				t.Errorf("docs/mistakes.md explains %s, which is no reason", reason)
			}
		}
	}
}

// reasons are those of all conditions and Events, by the constants and texts that the code has for them.
func reasons(t *testing.T) []string {
	found := map[string]bool{"GatewayAPIMissing": true, "CertManagerMissing": true} // which controllers/mesh.go puts together
	for _, path := range slices.Concat(sources(t, "../internal/mesh/*.go"), sources(t, "../internal/smi/*.go"), sources(t, "../api/smi/*/*/*.go")) {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool { reasonAt(n, found); return true })
	}
	written := regexp.MustCompile(`(?:Reason: |notReady\([^,]+, |problem\{[^,]+, |warn\([^,]+, |EventTypeWarning, )"([A-Z][A-Za-z]+)"`)
	for _, path := range sources(t, "../controllers/*.go") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range written.FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func sources(t *testing.T, pattern string) []string {
	all, err := filepath.Glob(pattern)
	if err != nil || len(all) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(all), err)
	}
	return slices.DeleteFunc(all, func(path string) bool { return strings.HasSuffix(path, "_test.go") })
}

// reasonAt adds the reason that a node of the code is: a constant of Gateway API, which is called by its text;
// a constant of Weft's own; or what a verdict is made with.
func reasonAt(n ast.Node, found map[string]bool) {
	switch n := n.(type) {
	case *ast.SelectorExpr:
		if of, reason, is := strings.Cut(n.Sel.Name, "Reason"); is && of != "" && reason != "" {
			found[reason] = true
		}
	case *ast.ValueSpec:
		for i, name := range n.Names {
			if i < len(n.Values) && strings.Contains(strings.ToLower(name.Name), "reason") {
				addText(n.Values[i], found)
			}
		}
	case *ast.CallExpr:
		if f, is := n.Fun.(*ast.Ident); is && (f.Name == "wrong" || f.Name == "holds") {
			for _, arg := range n.Args[:min(4, len(n.Args))] {
				addText(arg, found)
			}
		}
	}
}

var reasonText = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)

func addText(e ast.Expr, found map[string]bool) {
	if lit, is := e.(*ast.BasicLit); is && lit.Kind == token.STRING {
		if text, err := strconv.Unquote(lit.Value); err == nil && reasonText.MatchString(text) {
			found[text] = true
		}
	}
}
