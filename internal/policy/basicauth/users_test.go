package basicauth

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/policy/room"
)

// The passwords "secret" and "other", hashed.
const (
	ofSecret = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
	ofOther  = "{SHA}0JQeaNqPOBUf+Gph/Fn3xc+fyqI="
)

// TestRead: which lines are of users, and what is said of the others.
func TestRead(t *testing.T) {
	const at = `data["x"] of Secret shop/a`
	var many strings.Builder
	for i := range MaxUsers + 1 {
		fmt.Fprintf(&many, "user-%d:%s\n", i, ofSecret)
	}
	ann := room.Pairs{"ann": ofSecret}
	for name, c := range map[string]struct {
		text string
		want room.Pairs
		says []string
	}{
		"some":             {"ann:" + ofSecret + "\nbob:" + ofOther, room.Pairs{"ann": ofSecret, "bob": ofOther}, nil},
		"odd lines":        {"\n# bob:x\r\n  ann:" + ofSecret + " \r\n\n", ann, nil},
		"the same twice":   {"ann:" + ofSecret + "\nann:" + ofSecret, ann, nil},
		"nothing":          {"", room.Pairs{}, []string{at + " has no user"}},
		"only comments":    {"# x\n\n", room.Pairs{}, []string{at + " has no user"}},
		"bcrypt":           {"ann:" + ofSecret + "\nbob:$2y$05$x", ann, []string{"line 2 of " + at + " has a password hashed by bcrypt: proxies know {SHA} alone"}},
		"MD5":              {"bob:$apr1$x$y\nann:" + ofSecret, ann, []string{"line 1 of " + at + " has a password hashed by MD5"}},
		"SHA-512":          {"bob:$6$x$y\nann:" + ofSecret, ann, []string{"line 1 of " + at + " has a password hashed by SHA-512"}},
		"salted":           {"bob:{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nann:" + ofSecret, ann, []string{"line 1 of " + at + " has a password hashed by salted SHA-1"}},
		"plain text":       {"bob:secret\nann:" + ofSecret, ann, []string{"line 1 of " + at + " has a password by crypt, or as it is"}},
		"a part of a hash": {"bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ\nann:" + ofSecret, ann, []string{"line 1 of " + at + " has no whole hash"}},
		"28 of anything":   {"bob:{SHA}" + strings.Repeat("x", 28) + "\nann:" + ofSecret, ann, []string{"line 1 of " + at + " has no whole hash"}},
		"more after it":    {"bob:" + ofSecret + ":x\nann:" + ofSecret, ann, []string{"line 1 of " + at + " has no whole hash"}},
		"no colon":         {"ann:" + ofSecret + "\nsecret", ann, []string{"line 2 of " + at + " is not user:{SHA}hash"}},
		"no name":          {":" + ofSecret + "\nann:" + ofSecret, ann, []string{"line 1 of " + at + " has no name"}},
		"a name of bytes":  {"\xff:" + ofSecret + "\nann:" + ofSecret, ann, []string{"line 1 of " + at + " has no name"}},
		"a long name":      {strings.Repeat("x", MaxUser+1) + ":" + ofSecret + "\nann:" + ofSecret, ann, []string{"line 1 of " + at + " has no name"}},
		"two passwords":    {"bob:" + ofSecret + "\nann:" + ofSecret + "\nbob:" + ofOther, ann, []string{"lines 1 and 3 of " + at + " are of one user"}},
		"too many":         {many.String(), nil, []string{at + " has 1001 users, and may have 1000"}},
	} {
		got, says := read([]room.Credentials{{Secret: "shop/a", Data: map[string][]byte{"x": []byte(c.text)}}}, "x")
		if !reflect.DeepEqual(got, c.want) || len(says) != len(c.says) {
			t.Errorf("%s: %v, %q, want %v, %q", name, got, says, c.want, c.says)
			continue
		}
		for i, want := range c.says {
			if !strings.HasPrefix(says[i], want) {
				t.Errorf("%s: %q, want %q", name, says[i], want)
			}
		}
	}
	if got, says := read([]room.Credentials{{Secret: "shop/a", Data: map[string][]byte{"y": nil}}}, "x"); len(got) > 0 || len(says) != 1 || says[0] != `Secret shop/a has no data["x"]: add it, or name another key` {
		t.Errorf("of another key: %v, %q", got, says)
	}
	if got, says := read(nil, "x"); len(got) > 0 || len(says) > 0 {
		t.Errorf("of no Secret: %v, %q", got, says)
	}
}

// FuzzRead: whatever a Secret holds, Envoy takes the lines that are made of it, and what is said of the rest does not
// have it.
func FuzzRead(f *testing.F) {
	f.Add("ann:" + ofSecret + "\nbob:$2y$x")
	f.Add("a b:" + ofSecret + "\r\n#:\n:\n\xff")
	f.Fuzz(func(t *testing.T, text string) {
		got, says := read([]room.Credentials{{Secret: "shop/a", Data: map[string][]byte{"x": []byte(text)}}}, "x")
		for user, hash := range got {
			if user == "" || user[0] == '#' || strings.ContainsAny(user, ":\r\n\x00") || len(hash) != 33 || !strings.HasPrefix(hash, sha) || strings.ContainsAny(hash, "\r\n") {
				t.Errorf("%q has %q", user, hash)
			}
		}
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); len(line) > 12 && strings.Contains(strings.Join(says, " "), line) && !strings.Contains("write a line of user:{SHA}hash for each, by htpasswd -s", line) {
				t.Errorf("%q is told of in %q", line, says)
			}
		}
	})
}
