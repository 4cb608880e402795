package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/e2e/cluster/internal/layout"
)

// Builder fills the cache.
type Builder struct {
	Layout layout.Layout
	// Source is the folder of the cluster command's own module.
	Source string
}

// FindSource looks for the cluster command's module in the working folder and
// those above it.
func FindSource() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working folder: %w", err)
	}
	for {
		for _, candidate := range []string{folder, filepath.Join(folder, "e2e", "cluster")} {
			if _, err := os.Stat(filepath.Join(candidate, Kubernetes.Module, "go.mod")); err == nil {
				return candidate, nil
			}
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("e2e/cluster is not in the working folder or above it: run this inside the repository")
		}
		folder = parent
	}
}

// Tool returns the path of a cached binary by any of its names and makes it
// when it is absent or out of date.
func (b Builder) Tool(ctx context.Context, name string) (string, error) {
	if name == "envoy" {
		return b.Envoy(ctx)
	}
	for _, artifact := range Artifacts {
		if artifact.Name != name && !slices.Contains(artifact.Links, name) {
			continue
		}
		if _, err := b.Build(ctx, artifact); err != nil {
			return "", err
		}
		return b.Layout.Bin(name), nil
	}
	return "", fmt.Errorf("no tool %q: the tools are envoy, %s", name, strings.Join(toolNames(), ", "))
}

func toolNames() []string {
	var names []string
	for _, artifact := range Artifacts {
		names = append(append(names, artifact.Name), artifact.Links...)
	}
	return names
}

// Build returns the path of an artifact and makes it when it is absent or its
// sources changed.
func (b Builder) Build(ctx context.Context, artifact Artifact) (string, error) {
	stamp, err := b.stamp(artifact)
	if err != nil {
		return "", err
	}
	binary := b.Layout.Bin(artifact.Name)
	return binary, b.make(ctx, artifact.Name, stamp, func(target string) error {
		cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-tags", artifact.Tags, "-ldflags", "-s -w"+artifact.Flags, "-o", target, artifact.Package)
		cmd.Dir = filepath.Join(b.Source, artifact.Module)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", artifact.Name, err, bytes.TrimSpace(out))
		}
		return b.link(artifact)
	})
}

// link gives a multi-call binary its other names.
func (b Builder) link(artifact Artifact) error {
	for _, name := range artifact.Links {
		path := b.Layout.Bin(name)
		if target, err := os.Readlink(path); err == nil && target == artifact.Name {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("replace %s: %w", path, err)
		}
		if err := os.Symlink(artifact.Name, path); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}

// make runs produce, which must leave the binary at its argument, unless the
// cached binary carries the stamp. Runs at the same time take turns.
func (b Builder) make(ctx context.Context, name, stamp string, produce func(target string) error) error {
	unlock, err := layout.Lock(ctx, b.Layout.Bin("."+name+".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	binary, record := b.Layout.Bin(name), b.Layout.Bin("."+name+".stamp")
	if current, err := os.ReadFile(record); err == nil && string(current) == stamp {
		if _, err := os.Stat(binary); err == nil {
			return nil
		}
	}
	if err := produce(binary + ".new"); err != nil {
		return err
	}
	// A rename, since a running binary cannot be written.
	if err := os.Rename(binary+".new", binary); err != nil {
		return fmt.Errorf("put %s in place: %w", name, err)
	}
	return layout.WriteFile(record, []byte(stamp))
}
