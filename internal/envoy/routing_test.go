package envoy_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/mesh"
)

func TestMatching(t *testing.T) {
	g := world{endpoints: echoes(t, "prefix", "exact", "regex", "longer", "method", "header", "query", "any"), hosts: host(t, `
- matches: [{path: {type: PathPrefix, value: /foo/}}]
  backendRefs: [{name: prefix}]
- matches: [{path: {type: Exact, value: /foo/exact}}]
  backendRefs: [{name: exact}]
- matches: [{path: {type: RegularExpression, value: '/foo/v\d+'}}, {path: {type: RegularExpression, value: '/a|/b'}}]
  backendRefs: [{name: regex}]
- matches: [{path: {type: PathPrefix, value: /foo/longer}}]
  backendRefs: [{name: longer}]
- matches: [{path: {type: PathPrefix, value: /foo}, method: DELETE}]
  backendRefs: [{name: method}]
- matches: [{path: {type: PathPrefix, value: /foo}, headers: [{name: X-User, value: ann}, {name: Host, value: inner.test}]}]
  backendRefs: [{name: header}]
- matches: [{path: {type: PathPrefix, value: /foo}, queryParams: [{name: q, type: RegularExpression, value: '\d'}]}]
  backendRefs: [{name: query}]
- matches: [{path: {type: PathPrefix, value: /any}}]
  backendRefs: [{name: any}]
`)}.start(t)
	for _, c := range []struct {
		method, path string
		headers      []string
		want         string // empty: 404
	}{
		{"GET", "/foo", nil, "prefix"}, {"GET", "/foo/", nil, "prefix"}, {"GET", "/foo/bar?a=b", nil, "prefix"},
		{"GET", "/foobar", nil, ""}, {"GET", "/Foo", nil, ""}, {"GET", "/", nil, ""},
		{"GET", "/foo/exact", nil, "exact"}, {"GET", "/foo/exact/", nil, "prefix"}, {"GET", "/foo/exact?q=1", nil, "exact"},
		{"GET", "/foo/v12", nil, "regex"}, {"GET", "/foo/v12x", nil, "prefix"}, {"GET", "/x/foo/v1", nil, ""},
		{"GET", "/b", nil, "regex"}, {"GET", "/bc", nil, ""}, {"GET", "/foo/longer/x", nil, "longer"},
		{"DELETE", "/foo", nil, "method"}, {"DELETE", "/foo/longer", nil, "longer"},
		{"DELETE", "/foo", []string{"x-user", "ann", "Host", "inner.test"}, "method"},
		{"GET", "/foo", []string{"x-user", "ann", "Host", "inner.test:8080"}, "prefix"},
		{"GET", "/foo", []string{"x-user", "ann", "Host", "inner.test."}, "header"},
		{"GET", "/foo", []string{"x-user", "ann"}, "prefix"}, {"GET", "/foo", []string{"x-user", "anna", "Host", "inner.test"}, "prefix"},
		{"GET", "/foo?q=1&q=x", nil, "query"}, {"GET", "/foo?q=x&q=1", nil, "prefix"}, {"GET", "/foo?q=12", nil, "prefix"},
		{"GET", "/any/../foo/exact", nil, "exact"}, {"GET", "//foo///exact", nil, "exact"},
	} {
		response, got := g.send(t, c.method, c.path, c.headers...)
		if got.Backend != c.want || (c.want == "") != (response.StatusCode == 404) {
			t.Errorf("%s %s %v: %d %q, want %q", c.method, c.path, c.headers, response.StatusCode, got.Backend, c.want)
		}
	}
	for _, refused := range [][]string{{"/foo%2Fbar"}, {"/foo%5cbar"}, {"/foo", "a_b", "c"}} {
		if response, _ := g.send(t, "GET", refused[0], refused[1:]...); response.StatusCode != 400 {
			t.Errorf("%v: %d, want 400", refused, response.StatusCode)
		}
	}
}

func TestRedirects(t *testing.T) {
	const text = `
- filters: [{type: RequestRedirect, requestRedirect: {}}]
- matches: [{path: {value: /https}}]
  filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]
- matches: [{path: {value: /http}}]
  filters: [{type: RequestRedirect, requestRedirect: {scheme: http, statusCode: 301}}]
- matches: [{path: {value: /port}}]
  filters: [{type: RequestRedirect, requestRedirect: {port: 8443, statusCode: 303}}]
- matches: [{path: {value: /port80}}]
  filters: [{type: RequestRedirect, requestRedirect: {port: 80, statusCode: 307}}]
- matches: [{path: {value: /both}}]
  filters: [{type: RequestRedirect, requestRedirect: {scheme: https, port: 443, hostname: example.org, statusCode: 308}}]
- matches: [{path: {value: /odd}}]
  filters: [{type: RequestRedirect, requestRedirect: {scheme: https, port: 80}}]
- matches: [{path: {value: /full}}]
  filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /new}}}]
- matches: [{path: {value: /prefix}}]
  filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /new/}}}]
- matches: [{path: {value: /root}}]
  filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
`
	on80, on8080 := host(t, text)[0], host(t, text)[0]
	on80.Domain, on8080.Domain, on8080.Port = "a.test", "b.test", 8080
	g := world{hosts: []mesh.VirtualHost{on80, on8080}}.start(t)
	for _, c := range []struct {
		host, path string
		status     int
		location   string
	}{
		{"a.test", "/x?y=z", 302, "http://a.test/x?y=z"},
		{"a.test:1234", "/x", 302, "http://a.test/x"},
		{"b.test", "/x", 302, "http://b.test:8080/x"},
		{"a.test", "/https", 302, "https://a.test/https"},
		{"b.test", "/https", 302, "https://b.test/https"},
		{"b.test", "/http", 301, "http://b.test/http"},
		{"a.test", "/port", 303, "http://a.test:8443/port"},
		{"b.test", "/port", 303, "http://b.test:8443/port"},
		{"b.test", "/port80", 307, "http://b.test/port80"},
		{"b.test", "/both/x", 308, "https://example.org/both/x"},
		{"a.test", "/odd", 302, "https://a.test:80/odd"},
		{"a.test", "/full/x?y=z", 302, "http://a.test/new?y=z"},
		{"a.test", "/prefix/x?y=z", 302, "http://a.test/new/x?y=z"},
		{"a.test", "/prefix", 302, "http://a.test/new"},
		{"a.test", "/prefix/", 302, "http://a.test/new/"},
		{"a.test", "/root/x", 302, "http://a.test/x"},
		{"a.test", "/root", 302, "http://a.test/"},
	} {
		response, _ := g.send(t, "GET", c.path, "Host", c.host)
		if got := response.Header.Get("Location"); response.StatusCode != c.status || got != c.location {
			t.Errorf("%s%s: %d %s, want %d %s", c.host, c.path, response.StatusCode, got, c.status, c.location)
		}
	}
}

// The table is that of HTTPPathModifier.replacePrefixMatch, with the root on either side besides.
func TestPrefixRewrites(t *testing.T) {
	cases := []struct{ prefix, replacement, path, want string }{
		{"/foo", "/xyz", "/foo/bar", "/xyz/bar"},
		{"/foo", "/xyz/", "/foo/bar", "/xyz/bar"},
		{"/foo/", "/xyz", "/foo/bar", "/xyz/bar"},
		{"/foo/", "/xyz/", "/foo/bar", "/xyz/bar"},
		{"/foo", "/xyz", "/foo", "/xyz"},
		{"/foo", "/xyz", "/foo/", "/xyz/"},
		{"/foo", "", "/foo/bar", "/bar"},
		{"/foo", "", "/foo/", "/"},
		{"/foo", "", "/foo", "/"},
		{"/foo", "/", "/foo/", "/"},
		{"/foo", "/", "/foo", "/"},
		{"/foo", "/", "/foo/bar?a=/foo", "/bar?a=/foo"},
		{"/", "/xyz", "/bar", "/xyz/bar"},
		{"/", "/xyz/", "/", "/xyz/"},
		{"/", "/", "/bar", "/bar"},
		{"/foo.d", "/", "/foo.d/bar", "/bar"},
	}
	w := world{endpoints: echoes(t, "b")}
	for i, c := range cases {
		v := host(t, fmt.Sprintf(`
- matches: [{path: {value: %q}}]
  filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: %q}}}]
  backendRefs: [{name: b}]
`, c.prefix, c.replacement))[0]
		v.Domain = fmt.Sprintf("%d.test", i)
		w.hosts = append(w.hosts, v)
	}
	g := w.start(t)
	for i, c := range cases {
		if _, got := g.send(t, "GET", c.path, "Host", fmt.Sprintf("%d.test", i)); got.Path != c.want {
			t.Errorf("%s by %q at %s: %q, want %q", c.prefix, c.replacement, c.path, got.Path, c.want)
		}
	}
}

func TestWeights(t *testing.T) {
	g := world{endpoints: echoes(t, "a", "b"), hosts: host(t, `
- backendRefs: [{name: a, weight: 2}, {name: b, weight: 1}, {name: missing, weight: 1}, {name: idle, weight: 0}]
- matches: [{path: {value: /empty}}]
  backendRefs: [{name: empty}]
- matches: [{path: {value: /gone}}]
  backendRefs: [{name: missing}]
`)}
	g.endpoints["empty"] = nil
	proxy := g.start(t)
	const n = 600
	seen := map[string]int{}
	for range n {
		response, got := proxy.send(t, "GET", "/")
		seen[got.Backend+http.StatusText(response.StatusCode)]++
	}
	want := map[string]float64{"aOK": 0.5, "bOK": 0.25, "Internal Server Error": 0.25}
	for what, share := range want {
		if got := float64(seen[what]) / n; got < share-0.08 || got > share+0.08 || len(seen) != len(want) {
			t.Errorf("%s: %.2f, want %.2f; all: %v", what, got, share, seen)
		}
	}
	for path, want := range map[string]int{"/empty": 503, "/gone": 500} {
		if response, _ := proxy.send(t, "GET", path); response.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, response.StatusCode, want)
		}
	}
}

// Between equal matches of two routes the older wins, then the one first by name.
func TestOlderRouteFirst(t *testing.T) {
	rule := func(name string, age time.Duration) mesh.Rule {
		r := rules(t, `[{backendRefs: [{name: a}]}]`)[0]
		r.Name, r.Created = name, time.Unix(1_000_000, 0).Add(-age)
		return r
	}
	v := mesh.VirtualHost{Domain: "*", Rules: []mesh.Rule{rule("b", 0), rule("c", time.Hour), rule("a", 0)}}
	var got []string
	for _, r := range envoy.VirtualHost(v).Routes {
		got = append(got, r.Name)
	}
	if want := []string{"httproute/shop/c/0/0", "httproute/shop/a/0/0", "httproute/shop/b/0/0"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
