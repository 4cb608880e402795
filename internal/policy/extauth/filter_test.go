package extauth

import "testing"

func TestPlainPath(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "/": "", "check": "/check", "/check": "/check", "/check/": "/check", "//a//b/": "/a/b", "/a%20b": "/a%20b", "/a;b=c": "/a;b=c",
	} {
		if got, ok := plain(in); !ok || got != want {
			t.Errorf("%q: %q %v, want %q", in, got, ok, want)
		}
	}
	for _, bad := range []string{"/a/../b", "..", "/./a", "/a/%2e%2E/b", "/a/.%2e", "/a%2Fb", "/a%2fb", "/a%5cb", `/a\b`, "/a b", "/a?b", "/a#b", "/a%", "/a%zz", "/\n"} {
		if got, ok := plain(bad); ok {
			t.Errorf("%q is taken for %q", bad, got)
		}
	}
}
