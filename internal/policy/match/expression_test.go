package match

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// TestMistakesInExpressions: what no proxy would take, or would fail at whenever it is asked, is refused, with the
// place where it is wrong.
func TestMistakesInExpressions(t *testing.T) {
	for text, want := range map[string]string{
		"request.method == 'GET' &&\n request.metod":                  "line 2, column 2: undeclared reference to 'request'",
		"request.method = 'GET'":                                      "line 1, column 16: Syntax error",
		"request.method":                                              "is of type string",
		"1":                                                           "is of type int",
		"request.method == 1":                                         "column 16: found no matching overload for '_==_' applied to '(string, int)'",
		"request.method + 'a' == 'b'":                                 "column 16: found no matching overload for '_+_'",
		"string(request.headers['a']) == 'b'":                         "column 7: undeclared reference to 'string'",
		"'a b'.split(' ')[0] == 'b'":                                  "column 12: undeclared reference to 'split'",
		"request.headers.exists(h, h == 'a')":                         "undeclared reference to",
		"has(request.headers.a)":                                      "undeclared reference to 'has'",
		"{'a': true}['a']":                                            "column 1: it makes a map",
		"request.path.matches(request.query)":                         "column 21: matches wants a literal",
		"request.path.matches('(')":                                   "the pattern is no regular expression",
		"request.path.matches('[a-z]{90}')":                           "too large",
		"request.time.getHours('Europe/Vienna') == 1":                 "found no matching overload",
		"filter_state['weft.caller'] == b'shop/web'":                  "undeclared reference to 'filter_state'",
		"caller.name == 'a'":                                          "undeclared reference to 'caller'",
		strings.Repeat("!", 500) + "true":                             "",
		strings.Repeat("(", 400) + "true" + strings.Repeat(")", 400):  "recursion limit exceeded",
		strings.Repeat("[", 30) + "true" + strings.Repeat("][0]", 30): "column 31: it is more than 24 levels deep",
		"request.method == 'GET' ? request.method : caller.x":         "undeclared reference to 'caller'",
	} {
		_, got := compile(text)
		if !strings.Contains(got, want) || want != "" && got == "" {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// FuzzExpression: an expression that is taken is written for Envoy as what a format can hold and what means the same
// as it: what is written of that is the same again.
func FuzzExpression(f *testing.F) {
	for _, text := range []string{"request.method == 'GET'", `request.headers["a"] in ['50%)%', 'b\n']`, "caller.zone == 'a' || !(caller.namespace == r'\\%')", "request.path.matches('^/a.*')"} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, gateway bool) {
		checked, bad := compile(text)
		if bad != "" {
			return
		}
		there := room.Proxy{Gateway: gateway, At: "topology.kubernetes.io/zone=50%"}
		first := states(room.Written[v1alpha1.Match]{Policy: "a/b", Says: &v1alpha1.Match{CEL: text}}, there)
		if len(first) == 0 {
			t.Fatalf("%q compiles, and there is nothing to ask", text)
		}
		format := first[len(first)-1].GetFormatString().GetTextFormatSource().GetInlineString()
		inner, begins := strings.CutPrefix(format, "%CEL(")
		inner, ends := strings.CutSuffix(inner, ")%")
		if !begins || !ends || strings.ContainsAny(inner, "%\n\r") {
			t.Fatalf("%q is asked as %q", text, format)
		}
		plain, err := written(checked, nil)
		if err != nil {
			t.Fatal(err)
		}
		again, bad := compile(plain)
		if bad != "" {
			t.Fatalf("%q is written as %q: %s", text, plain, bad)
		}
		if twice, err := written(again, nil); err != nil || twice != plain {
			t.Fatalf("%q is written as %q, and that as %q: %v", text, plain, twice, err)
		}
	})
}
