package mesh

import (
	"strings"
	"testing"

	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
)

// What is told of expressions for paths, and of which nothing: a remark on what is meant would teach people
// to read none.
func TestPathRemark(t *testing.T) {
	for text, want := range map[string]string{
		"/api/*":           "repeats the \"/\"",
		"/api*/x":          "repeats the \"i\"",
		"/(api/*)?":        "repeats the \"/\"",
		"api":              "begins with /",
		"^api/.*":          "begins with /",
		"(https://a)+/.*":  "begins with /",
		"/a?b=c":           "without the query",
		`/^\/cart$/`:       "nothing is before ^",
		"/cart/{id}":       "{id} stands",
		"/cart/:id/orders": ":id stands",
		"/api/":            "that path alone",
		"^/api/$":          "that path alone",
		"/":                "that path alone",
		"/api":             "how paths begin",
		"":                 "",
		".*":               "",
		"^":                "",
		"^/":               "that path alone",
		"/api/.*":          "",
		"/api(/.*)?$":      "",
		"^/api$":           "",
		`/cart/\d*`:        "",
		"/cart/[0-9]{2,3}": "",
		"/v1/carts:merge$": "",
		"/a/|/b/":          "",
		"a|/b":             "",
		"(?:^/a|^/b)$":     "",
	} {
		got := pathRemark(text, true, true)
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, wanted %q", text, got, want)
		}
	}
	for _, text := range []string{"/api/", "/"} {
		if got := pathRemark(text, false, true); got != "" {
			t.Errorf("to a TrafficSplit %q: %s", text, got)
		}
	}
	if got := pathRemark("/api", true, false); got != "" {
		t.Errorf("to a TrafficTarget /api: %s", got)
	}
}

// What is told of expressions for the values of headers.
func TestValueRemark(t *testing.T) {
	for header, want := range map[[2]string]string{
		{"x_user", "a"}:                 "underscore",
		{"x-user", "Moz*"}:              "repeats the \"z\"",
		{"User-Agent", "Firefox"}:       "the whole value",
		{"cookie", "canary"}:            "the whole value",
		{"user-agent", ".*Firefox.*"}:   "",
		{"x-canary", "always"}:          "",
		{"cookie", "^(.*;)?c=1(;.*)?$"}: "",
	} {
		got := valueRemark(header[0], header[1])
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%v: %q, wanted %q", header, got, want)
		}
	}
}

// What only a TrafficTarget cannot use is not told where TrafficSplits alone name the group.
func TestGroupRemarksByUser(t *testing.T) {
	g := &specs.HTTPRouteGroup{Spec: specs.HTTPRouteGroupSpec{Matches: []specs.HTTPMatch{{Name: "a", Headers: map[string]specs.HeaderRegex{"Host": "a"}}}}}
	for kind, want := range map[string]int{TrafficSplit: 0, "TrafficTarget": 1} {
		if got := groupRemarks(g, []specs.User{{Kind: kind, Name: "u"}}); len(got) != want {
			t.Errorf("named by a %s: %q", kind, got)
		}
	}
	if got := groupRemarks(g, nil); len(got) != 2 || !strings.Contains(got[1], "names it") {
		t.Errorf("named by none: %q", got)
	}
}
