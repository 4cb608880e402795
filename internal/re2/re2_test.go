package re2

import (
	"regexp"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for expression, want := range map[string]string{
		`/shop/[^/]+/items/\d+`: "",
		`(?i)^/a(?P<id>\w+)$`:   "",
		`\p{Lu}\pL\P{^Greek}`:   "",
		`\Q\p{Letter}\E`:        "",
		`[\x00-\xFF]{1000}`:     "",
		``:                      "empty",
		`/shop/(`:               "missing closing )",
		`a**`:                   "invalid nested repetition operator",
		`\C`:                    "invalid escape sequence",
		`(?=a)`:                 "invalid or unsupported Perl syntax",
		`a{1001}`:               "invalid repeat count",
		`/caf` + "\u00e9":       "percent-encode",
		`\x{100}`:               "not one byte",
		`\777`:                  "not one byte",
		`\p{Letter}`:            "no such class",
		`\p{Cn}`:                "no such class",
		`((a{1,30}){1,30})b`:    "",
		`([a-z]{1,999}` + strings.Repeat(`|[a-z]{1,999}`, 9) + `)`: "too large",
	} {
		err := Check(expression)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q is refused: %v", expression, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want one that says %q", expression, err, want)
		}
	}
}

// A checked expression is one of Go's, and short when it is refused for nothing but its size.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`/a.*`, `\p{Lu}`, `\Qa\E`, `\x{ff}`, `[^a-z]{3,9}|\d+?`, `\077`, `(?U)a(?i:b)`, `\Q\p{`, `\p{^`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		err := Check(s)
		if _, invalid := regexp.Compile(s); err == nil && invalid != nil {
			t.Errorf("%q passes, but: %v", s, invalid)
		}
		if err != nil && strings.Contains(err.Error(), "too large") && len(s) < 10 {
			t.Errorf("%q is too large: %v", s, err)
		}
	})
}
