package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestCommands(t *testing.T) {
	for _, c := range []struct {
		args  []string
		says  string // on standard error
		fails string
	}{
		{nil, "operator", ""},
		{[]string{"help"}, "version", ""},
		{[]string{"version"}, "", ""},
		{[]string{"operator", "-h"}, "", ""},
		{[]string{"operater"}, "", `unknown command "operater"`},
		{[]string{"operator", "-no-such-flag"}, "", "no-such-flag"},
		{[]string{"operator", "-revision=Canary_1"}, "", "Canary_1"},
		{[]string{"redirect", "-h"}, "", ""},
	} {
		var stderr bytes.Buffer
		err := run(t.Context(), c.args, &stderr)
		if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("weft %q: %v; want %q", c.args, err, c.fails)
		}
		if !strings.Contains(stderr.String(), c.says) {
			t.Errorf("weft %q says %q; want %q", c.args, &stderr, c.says)
		}
	}
}
