package apikey

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/policy/room"
)

func secret(name string, data map[string]string) room.Credentials {
	out := room.Credentials{Secret: "shop/" + name, Data: map[string][]byte{}}
	for k, v := range data {
		out.Data[k] = []byte(v)
	}
	return out
}

// TestRead: whose keys are whose, and what is said of those that are nobody's.
func TestRead(t *testing.T) {
	many := map[string]string{}
	for i := range MaxKeys + 1 {
		many[fmt.Sprint("client-", i)] = fmt.Sprint("key-", i)
	}
	for name, c := range map[string]struct {
		secrets []room.Credentials
		want    room.Pairs
		says    []string
	}{
		"some":               {[]room.Credentials{secret("a", map[string]string{"ann": "x\n", "bob": "y\r\n", "eve": "~!"})}, room.Pairs{"x": "ann", "y": "bob", "~!": "eve"}, nil},
		"two of one client":  {[]room.Credentials{secret("a", map[string]string{"ann": "x"}), secret("b", map[string]string{"ann": "y"})}, room.Pairs{"x": "ann", "y": "ann"}, nil},
		"the same twice":     {[]room.Credentials{secret("a", map[string]string{"ann": "x"}), secret("b", map[string]string{"ann": "x"})}, room.Pairs{"x": "ann"}, nil},
		"none":               {nil, room.Pairs{}, nil},
		"an empty Secret":    {[]room.Credentials{secret("a", nil)}, room.Pairs{}, []string{"Secret shop/a has no entry"}},
		"an empty key":       {[]room.Credentials{secret("a", map[string]string{"ann": "\n", "bob": "y"})}, room.Pairs{"y": "bob"}, []string{`data["ann"] of Secret shop/a is empty`}},
		"a space":            {[]room.Credentials{secret("a", map[string]string{"ann": "x y"})}, room.Pairs{}, []string{`data["ann"] of Secret shop/a has a space`}},
		"two lines":          {[]room.Credentials{secret("a", map[string]string{"ann": "x\n\n"})}, room.Pairs{}, []string{`data["ann"] of Secret shop/a has a space`}},
		"no ASCII":           {[]room.Credentials{secret("a", map[string]string{"ann": "\xff", "bob": "é"})}, room.Pairs{}, []string{`data["ann"]`, `data["bob"]`}},
		"too long":           {[]room.Credentials{secret("a", map[string]string{"ann": strings.Repeat("x", MaxKey+1), "bob": strings.Repeat("x", MaxKey)})}, room.Pairs{strings.Repeat("x", MaxKey): "bob"}, []string{`data["ann"] of Secret shop/a has 257 bytes`}},
		"one of two clients": {[]room.Credentials{secret("a", map[string]string{"ann": "x", "bob": "x\n", "eve": "y"})}, room.Pairs{"y": "eve"}, []string{`data["ann"] of Secret shop/a and data["bob"] of Secret shop/a are the same key`}},
		"one of three":       {[]room.Credentials{secret("a", map[string]string{"ann": "x"}), secret("b", map[string]string{"bob": "x"}), secret("c", map[string]string{"ann": "x"})}, room.Pairs{}, []string{`data["ann"] of Secret shop/a and data["bob"] of Secret shop/b and data["ann"] of Secret shop/c are`}},
		"too many":           {[]room.Credentials{secret("a", many)}, nil, []string{"there are 1001 keys, and a policy may have 1000"}},
	} {
		got, says := read(c.secrets)
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
}

// FuzzRead: whatever Secrets hold, proxies can be told of what is read, and what is said of the rest does not have it.
func FuzzRead(f *testing.F) {
	f.Add("ann", "x", "bob", "x")
	f.Add("ann", "a b", "bob", "\xff")
	f.Fuzz(func(t *testing.T, a, x, b, y string) {
		got, says := read([]room.Credentials{secret("a", map[string]string{a: x}), secret("b", map[string]string{b: y})})
		for key := range got {
			if key == "" || len(key) > MaxKey || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("%q is a key", key)
			}
		}
		if a != b && trimmed([]byte(x)) == trimmed([]byte(y)) && len(got) > 0 {
			t.Errorf("%q is of two clients, and %v", x, got)
		}
		if len(x) > 12 && !strings.Contains(a+b, x) && strings.Contains(strings.Join(says, " "), x) {
			t.Errorf("%q is told of in %q", x, says)
		}
	})
}
