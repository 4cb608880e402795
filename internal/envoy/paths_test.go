package envoy_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/why"
)

// TestPathsAsTold: what weft why says that a path is read as, an app gets; what it says is refused, is.
func TestPathsAsTold(t *testing.T) {
	t.Parallel()
	c := startCourt(t)
	paths := slices.Concat(oddPaths, []string{
		"/a/%2e%2e/b", "/a/%2E/b", "/a/.%2e/b", "/a/b/..", "/a/b/.", "/a/", "//", "/a//../b", "/..", "/a/../../b", "/%7Ea", "/a%2Db", "/a%5fb", "/%c3%a9", "/a%20b", "/a%3Fb", "/a%23b", "/a%2Fb", "/a%5cb", "/a%00b",
		"/a%zzb", "/a%", "/a%4", "/a?b=%2f", "/a?//..", "/a!$&'()*+,=:@b", "/a[b]", "/a{b}", "/a|b", "/a^b", "/a`b", `/a"b`, "/a<b>", `/a\b`, "/a%41%5A%30", "/;/..", "/..;/a", "/a/..;x=1/b", "/a/%2e%2e;/b", "/a/.;", "/a/b/..;", "/a;/../b", "///", "//a//",
	})
	told := 0
	for _, sent := range paths {
		if !strings.HasPrefix(sent, "/") || strings.ContainsAny(sent, " \t\r\n") {
			continue
		}
		said, problem := why.PathOf(sent)
		status, saw := c.ask(t, c.free, request{method: "GET", host: "cart", path: sent}, caller{"", "127.0.0.1", false})
		got, _, _ := strings.Cut(saw.URI, "?")
		switch {
		case status == http.StatusOK && problem == "" && got == said:
			told++
		case status == http.StatusOK:
			t.Errorf("%q reaches the app as %q, and is told to be %q, %s", sent, got, said, problem)
		case problem == "":
			t.Errorf("%q is answered %d, and is told to be %q", sent, status, said)
		}
	}
	if told < 40 {
		t.Errorf("%d paths only", told)
	}
}
