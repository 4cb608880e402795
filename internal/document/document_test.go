package document

import (
	"fmt"
	"strings"
	"testing"
)

const partners = `
tenants:
  gold: [acme, initech, acme]
  silver: hooli
owners:
  ann: [ann, bob]
  "7": [carol]
levels: {a: 7, b: true, c: [x, [y]], d: null, e: ""}
none: []
`

// TestFind: texts are found, and of all else is said where it is and what it should be.
func TestFind(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"tenants.gold":   "[acme initech] map[]",
		"tenants.silver": "[hooli] map[]",
		"none":           "[] map[]",
		"by owners":      "[] map[7:[carol] ann:[ann bob]]",
		"by tenants":     "[] map[gold:[acme initech] silver:[hooli]]",
		"tenants":        "has at tenants a map: it must be a text, or a list of texts",
		"tenants.bronze": "has no tenants.bronze: add it, or correct the path",
		"none.x":         "has no none.x: add it, or correct the path",
		"levels.a":       "has at levels.a a number: put it in quotes",
		"levels.b":       "has at levels.b true or false: put it in quotes",
		"levels.c":       "has at levels.c[1] a list: it must be a text, or a list of texts",
		"levels.d":       "has at levels.d nothing: it must be a text, or a list of texts",
		"levels.e":       "has at levels.e a text that is empty, which no attribute is",
		"by none":        "has at none a list: it must be a map of texts, or of lists of texts, as by names one of its keys",
		"by levels":      "has at levels.a a number: put it in quotes",
	} {
		keys, by := strings.CutPrefix(path, "by ")
		f := Find(partners, strings.Split(keys, "."), by)
		got := f.Problem
		if got == "" {
			got = fmt.Sprint(f.Texts, f.By)
		}
		if got != want || f.Awaited {
			t.Errorf("%s: %s, wanted %s", path, got, want)
		}
	}
}

// TestTooMuch: nobody makes proxies compare with more than is bounded.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	var list, keys strings.Builder
	for i := range maxTexts + 1 {
		fmt.Fprintf(&list, "- t%d\n", i)
	}
	for i := range maxEntries + 1 {
		fmt.Fprintf(&keys, "  k%d: a\n", i)
	}
	for text, by := range map[string]bool{"a:\n" + list.String(): false, "a:\n" + keys.String(): true, "a: " + strings.Repeat("x", maxText+1): false, "a: \"\\x00\"": false} {
		if f := Find(text, []string{"a"}, by); f.Problem == "" || f.Awaited {
			t.Errorf("%.20s: %+.200v", text, f)
		}
	}
	if Check(strings.Repeat("#", MaxSize+1)) == "" {
		t.Error("a document may be of any length")
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'j'; i++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	if Check(bomb) == "" {
		t.Error("a document may name itself without end")
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{partners: true, `{"a": ["b"]}`: true, "": false, "- a": false, "a": false, "a: [": false, "a: 1\na: 2": false} {
		if problem := Check(text); (problem == "") != good {
			t.Errorf("%q: %q", text, problem)
		}
	}
	if f := Find("a: [", []string{"a"}, false); !f.Awaited {
		t.Errorf("what is no document is told of twice: %+v", f)
	}
}
