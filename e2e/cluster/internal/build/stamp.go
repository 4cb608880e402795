package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// stamp is a digest of everything a binary is made from: the module's files, the
// tags, the linker's flags and the version of Go.
func (b Builder) stamp(artifact Artifact) (string, error) {
	digest := sha256.New()
	fmt.Fprintln(digest, runtime.Version(), artifact.Package, artifact.Flags)
	if artifact.Tags != "" {
		fmt.Fprintln(digest, artifact.Tags)
	}
	root := filepath.Join(b.Source, artifact.Module)
	if artifact.Module == "." {
		root = filepath.Join(b.Source, artifact.Package) // no dependency but the standard library
	}
	if err := digestSources(digest, root); err != nil {
		return "", fmt.Errorf("digest the sources of %s: %w", artifact.Name, err)
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

// digestSources adds the Go files and module files of a folder in a fixed order.
func digestSources(digest io.Writer, root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !isSource(entry.Name()) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(digest, "%s %d\n%s", relative, len(data), data)
		return err
	})
}

func isSource(name string) bool {
	return name == "go.mod" || name == "go.sum" || (strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"))
}
