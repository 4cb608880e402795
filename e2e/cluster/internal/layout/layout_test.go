package layout

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

func TestLockKeepsOthersOutUntilReleased(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "lock")
	release, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Lock(over, path); !errors.Is(err, context.Canceled) {
		t.Errorf("a second Lock says %v", err)
	}
	release()
	again, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatalf("Lock after release: %v", err)
	}
	again()
}

func TestFromEnvironment(t *testing.T) {
	for _, tt := range []struct {
		state, cache, home string
		want               Layout
		fails              bool
	}{
		{"", "", "/home/u/.cache", Layout{"/var/lib/weft-cluster", "/home/u/.cache/weft"}, false},
		{"/s/", "/c", "", Layout{"/s", "/c"}, false},
		{"relative", "/c", "", Layout{}, true},
		{"/s", "relative", "", Layout{}, true},
	} {
		t.Setenv("WEFT_CLUSTER_DIR", tt.state)
		t.Setenv("WEFT_CACHE", tt.cache)
		t.Setenv("XDG_CACHE_HOME", tt.home)
		got, err := FromEnvironment()
		if (err != nil) != tt.fails || got != tt.want {
			t.Errorf("with %q, %q, %q: %+v, %v", tt.state, tt.cache, tt.home, got, err)
		}
	}
}
