package build

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
)

// newBuilder has a source tree with one module of one artifact.
func newBuilder(t *testing.T) (Builder, Artifact) {
	t.Helper()
	b := Builder{Layout: layout.Layout{Cache: t.TempDir()}, Source: t.TempDir()}
	write(t, filepath.Join(b.Source, "m", "go.mod"), "module m")
	write(t, filepath.Join(b.Source, "m", "go.sum"), "sums")
	write(t, filepath.Join(b.Source, "m", "sub", "main.go"), "package main")
	return b, Artifact{Name: "thing", Module: "m", Package: "./sub"}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := layout.WriteFile(path, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestStampFollowsWhatTheBinaryIsMadeFrom(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		changes          bool
	}{
		{"source", "m/sub/main.go", "package main // changed", true},
		{"new source", "m/sub/more.go", "package main", true},
		{"requirements", "m/go.mod", "module m // changed", true},
		{"sums", "m/go.sum", "others", true},
		{"test", "m/sub/main_test.go", "package main", false},
		{"document", "m/README.md", "text", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, artifact := newBuilder(t)
			before, err := b.stamp(artifact)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(b.Source, tt.file), tt.text)
			after, err := b.stamp(artifact)
			if err != nil {
				t.Fatal(err)
			}
			if changed := before != after; changed != tt.changes {
				t.Errorf("stamp changed: %v, want %v", changed, tt.changes)
			}
		})
	}
}

func TestStampFollowsLinkerFlagsAndTags(t *testing.T) {
	b, artifact := newBuilder(t)
	before, _ := b.stamp(artifact)
	for name, other := range map[string]func(*Artifact){
		"the linker's flags": func(a *Artifact) { a.Flags = "-X a=b" },
		"the tags":           func(a *Artifact) { a.Tags = "one,two" },
	} {
		changed := artifact
		other(&changed)
		if after, _ := b.stamp(changed); before == after {
			t.Errorf("the stamp does not change with %s", name)
		}
	}
}

func TestMakeProducesOncePerStamp(t *testing.T) {
	b, _ := newBuilder(t)
	runs := 0
	produce := func(target string) error {
		runs++
		return os.WriteFile(target, []byte("binary"), 0o755)
	}
	for _, stamp := range []string{"1", "1", "2", "2"} {
		if err := b.make(t.Context(), "thing", stamp, produce); err != nil {
			t.Fatal(err)
		}
	}
	if runs != 2 {
		t.Errorf("produced %d times for two stamps", runs)
	}
	if err := os.Remove(b.Layout.Bin("thing")); err != nil {
		t.Fatal(err)
	}
	if err := b.make(t.Context(), "thing", "2", produce); err != nil || runs != 3 {
		t.Errorf("a missing binary was produced %d times in all, want 3 (%v)", runs, err)
	}
}

func TestMakeAfterFailureProducesAgain(t *testing.T) {
	b, _ := newBuilder(t)
	broken := errors.New("broken")
	if err := b.make(t.Context(), "thing", "1", func(target string) error {
		write(t, target, "half")
		return broken
	}); !errors.Is(err, broken) {
		t.Fatalf("make says %v", err)
	}
	if err := b.make(t.Context(), "thing", "1", func(target string) error { return os.WriteFile(target, []byte("whole"), 0o755) }); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(b.Layout.Bin("thing")); err != nil || string(data) != "whole" {
		t.Errorf("the binary is %q (%v)", data, err)
	}
}

func TestLinksNameTheBinary(t *testing.T) {
	b, artifact := newBuilder(t)
	write(t, b.Layout.Bin("thing"), "binary")
	write(t, b.Layout.Bin("other"), "an old file in the way")
	artifact.Links = []string{"alias", "other"}
	for range 2 {
		if err := b.link(artifact); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range artifact.Links {
		if data, err := os.ReadFile(b.Layout.Bin(name)); err != nil || string(data) != "binary" {
			t.Errorf("%s leads to %q (%v)", name, data, err)
		}
	}
}
