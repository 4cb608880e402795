package opa

import (
	"regexp"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/re2"
)

// TestParts: what is asked of a part of a text goes on beyond none: of the whole text that Envoy has, the expression holds
// exactly where it does of the part.
func TestParts(t *testing.T) {
	t.Parallel()
	of := func(a attribute, regex string) formula {
		t.Helper()
		f, ok := matches(a, regex)
		if !ok {
			t.Fatalf("%s of %s: Envoy has none that says the same", regex, a)
		}
		return f
	}
	segment := attribute{"request", "segments", "1"}
	for _, c := range []struct {
		what      formula
		yes, none []string
	}{
		{is(atom{op: suffix, of: host, values: []string{"80"}}), []string{"a80", "a80:1"}, []string{"a:80", "a:8080", "a"}},
		{is(atom{op: prefix, of: host, values: []string{"a"}}), []string{"a:1", "AB"}, []string{"b:a"}},
		{contains(host, "b"), []string{"abc:1", "ABC"}, []string{"a:b"}},
		{of(host, "^a.*b$"), []string{"axb:1", "AB"}, []string{"a:b", "a:1b"}},
		{of(host, "m$|^a"), []string{"xm:1", "xm", "a:m"}, []string{"x:m", "x:a"}},
		{of(host, "^[^x]$"), []string{"a:1", "A"}, []string{"x", "X", ":"}},
		{of(host, "^[a-f]+$"), []string{"ab:1", "AB:1"}, []string{"g:a"}},
		{of(segment, "^a.*b$"), []string{"/x/a-b", "/x/ab/c"}, []string{"/x/a/b", "/a-b", "/a-b/x"}},
		{of(segment, "b$|^c"), []string{"/x/ab/c", "/x/cd"}, []string{"/x/a/b", "/b/x", "/x/a/c"}},
		{of(segment, "[^a]"), []string{"/x/b", "/x/ab"}, []string{"/x/a", "/x/a/b"}},
		{of(segment, "^(?si:/open|Admin|admin|ann)$"), []string{"/x/ANN", "/x/admin/y"}, []string{"/x/", "/x/a/open", "/x//open", "/ann/x"}},
		{of(segment, "a(/x|b)"), []string{"/x/ab"}, []string{"/x/a/x"}},
		{contains(segment, "a"), []string{"/x/bab/c"}, []string{"/a/b", "/x/b/a"}},
		{of(serviceAccount, "^w.*b$"), []string{"spiffe://m/ns/s/sa/web"}, []string{"spiffe://m/ns/w/sa/b"}},
		{of(namespace, "o"), []string{"spiffe://m/ns/shop/sa/x"}, []string{"spiffe://m/ns/x/sa/o", "spiffe://o/ns/x/sa/x"}},
	} {
		regex := expression(c.what.atom)
		whole := regexp.MustCompile("^(?:" + regex + ")$")
		for _, text := range c.yes {
			if !whole.MatchString(text) {
				t.Errorf("%v as %s does not hold of %s", c.what, regex, text)
			}
		}
		for _, text := range c.none {
			if whole.MatchString(text) {
				t.Errorf("%v as %s holds of %s", c.what, regex, text)
			}
		}
	}
	for _, never := range []formula{of(segment, "^a/b$"), of(host, "a:8"), contains(host, "A"), contains(segment, "a/b"),
		possible(is(atom{op: isOne, of: segment, values: []string{"a/b"}})), possible(is(atom{op: prefix, of: segment, values: []string{"a/"}})),
		possible(is(atom{op: suffix, of: namespace, values: []string{"p/sa/x"}}))} {
		if !never.never() {
			t.Errorf("%v may hold", never)
		}
	}
	for _, c := range []struct {
		of    attribute
		regex string
	}{{host, "[A-Z]"}, {host, "(a|^b)c"}, {segment, "(?m)^a$"}, {claim("team"), "a"}} {
		if f, ok := matches(c.of, c.regex); ok {
			t.Errorf("%s of %s is %v", c.regex, c.of, f)
		}
	}
}

// FuzzParts: whatever is asked of a segment of the path or of a host, Envoy's expression for the whole text that it is a
// part of says what OPA's says of the part.
func FuzzParts(f *testing.F) {
	for _, regex := range []string{"^a.*b$", "m$|^a", "[^x]", "(?i)AB", "a(/|b)", "^$", "a|b$|^c", `\bx`, "(a|^b)c", "[A-Z]", "(?s).", "a{2,3}?b*", "[[:upper:]]", `\Qa.b\E$`} {
		f.Add(regex, "a-b", "x")
		f.Add(regex, "axb", "m")
	}
	f.Fuzz(func(t *testing.T, regex, part, rest string) {
		if re2.Check(regex) != nil || strings.ContainsFunc(part+rest, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Skip() // lint and the shape of requests keep these out
		}
		opas := regexp.MustCompile(regex)
		segment, name := strings.ReplaceAll(part, "/", ""), strings.ToLower(strings.ReplaceAll(part, ":", ""))
		for _, c := range []struct {
			of          attribute
			part, whole string
		}{
			{attribute{"request", "segments", "1"}, segment, "/" + strings.ReplaceAll(rest, "/", "") + "/" + segment + "/" + rest},
			{host, name, strings.ReplaceAll(part, ":", "") + ":" + rest},
		} {
			formula, ok := matches(c.of, regex)
			if !ok {
				continue
			}
			holds := false
			if !formula.never() {
				holds = regexp.MustCompile("^(?:" + expression(formula.atom) + ")$").MatchString(c.whole)
			}
			if want := opas.MatchString(c.part); holds != want {
				t.Errorf("%q of %q is %t to OPA, and to Envoy %t of %q by %q", regex, c.part, want, holds, c.whole, expression(formula.atom))
			}
		}
	})
}

// expression is that of Envoy for a text that an atom asks for a part of.
func expression(a atom) string {
	switch {
	case a.of.is(host):
		h, _ := ofHost(a)
		return h.GetStringMatch().GetSafeRegex().GetRegex()
	case a.of.segment():
		p, _ := ofPath(a)
		return p.GetSafeRegex().GetRegex()
	}
	p, _ := ofPrincipal(a)
	return p.GetSafeRegex().GetRegex()
}
