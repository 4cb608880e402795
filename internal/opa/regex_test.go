package opa

import (
	"regexp"
	"testing"
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
		{contains(segment, "a"), []string{"/x/bab/c"}, []string{"/a/b", "/x/b/a"}},
		{of(serviceAccount, "^w.*b$"), []string{"spiffe://m/ns/s/sa/web"}, []string{"spiffe://m/ns/w/sa/b"}},
		{of(namespace, "o"), []string{"spiffe://m/ns/shop/sa/x"}, []string{"spiffe://m/ns/x/sa/o", "spiffe://o/ns/x/sa/x"}},
	} {
		a := c.what.atom
		regex := ""
		switch {
		case a.of.is(host):
			h, _ := ofHost(a)
			regex = h.GetStringMatch().GetSafeRegex().GetRegex()
		case a.of.segment():
			p, _ := ofPath(a)
			regex = p.GetSafeRegex().GetRegex()
		default:
			p, _ := ofPrincipal(a)
			regex = p.GetSafeRegex().GetRegex()
		}
		whole := regexp.MustCompile("^(?:" + regex + ")$")
		for _, text := range c.yes {
			if !whole.MatchString(text) {
				t.Errorf("%v as %s does not hold of %s", a, regex, text)
			}
		}
		for _, text := range c.none {
			if whole.MatchString(text) {
				t.Errorf("%v as %s holds of %s", a, regex, text)
			}
		}
	}
	for _, never := range []formula{of(segment, "^a/b$"), of(host, "a:8"), contains(host, "A"), contains(segment, "a/b")} {
		if !never.never() {
			t.Errorf("%v may hold", never)
		}
	}
	for _, c := range []struct {
		of    attribute
		regex string
	}{{host, "[A-Z]"}, {host, "(a|^b)c"}, {segment, "(?m)^a$"}, {segment, "a(/x|b)"}, {claim("team"), "a"}} {
		if f, ok := matches(c.of, c.regex); ok {
			t.Errorf("%s of %s is %v", c.regex, c.of, f)
		}
	}
}
