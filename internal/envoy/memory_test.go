package envoy_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
)

var allocated = regexp.MustCompile(`"allocated":\s*"(\d+)"`)

// TestMemoryOfRoutes tells what 1,000 Routes cost an Envoy of one thread, and what sections add that put something
// into each of them. It measures, and needs a machine for itself: docs/figures.md has what it told.
func TestMemoryOfRoutes(t *testing.T) {
	if os.Getenv("WEFT_LONG") != "1" {
		t.Skip("WEFT_LONG=1 is not set")
	}
	const n = 1000
	script := onRequest(`h:headers():add("x-script", "ran") -- ` + strings.Repeat("x", 1000))
	callers := func(t *testing.T, text string) []room.Decided {
		return []room.Decided{{Section: "match", Policy: "shop/match", Says: roomtest.Written[v1alpha1.Match](t, text)}}
	}
	base := 0.0
	for _, c := range []struct {
		name   string
		says   func(i int) string
		decide func(*testing.T, string) []room.Decided
	}{
		{"no policy", func(int) string { return "" }, func(*testing.T, string) []room.Decided { return nil }},
		{"a script of 1 KiB, the same in all", func(int) string { return "[" + script + "]" }, extended},
		{"a script of 1 KiB, another in each", func(i int) string { return "[" + strings.Replace(script, "ran", strconv.Itoa(i), 1) + "]" }, extended},
		{"a server of ext_proc", func(int) string { return asksProc("a", "") }, extended},
		{"compression by two algorithms", func(int) string { return everyCompression }, compression},
		{"match of one caller", func(int) string { return "from: " + ofWeb }, callers},
	} {
		paths := map[string]string{}
		for i := range n {
			paths[fmt.Sprintf("/%d", i)] = c.says(i)
		}
		g := world{endpoints: echoes(t, "a"), hosts: decidedHost(t, paths, toA, c.decide)}.start(t)
		found := allocated.FindStringSubmatch(body(g.admin + "/memory"))
		if found == nil {
			t.Fatal("the admin interface does not tell")
		}
		bytes, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		if base == 0 {
			base = bytes
		}
		t.Logf("%s: %.1f MB, %.1f MB more than without", c.name, bytes/1e6, (bytes-base)/1e6)
	}
}
