// Package layout names the folders and addresses that the parts of the test
// cluster share.
package layout

import (
	"fmt"
	"os"
	"path/filepath"
)

// Layout locates what the cluster keeps on the machine.
type Layout struct {
	// State holds everything that `down` deletes.
	State string
	// Cache holds binaries, which outlive the cluster.
	Cache string
}

// FromEnvironment reads WEFT_CLUSTER_DIR (default /var/lib/weft-cluster) and
// WEFT_CACHE (default weft in the user's cache folder).
func FromEnvironment() (Layout, error) {
	state := os.Getenv("WEFT_CLUSTER_DIR")
	if state == "" {
		state = "/var/lib/weft-cluster"
	}
	cache := os.Getenv("WEFT_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return Layout{}, fmt.Errorf("find the cache folder (set WEFT_CACHE): %w", err)
		}
		cache = filepath.Join(base, "weft")
	}
	if !filepath.IsAbs(state) || !filepath.IsAbs(cache) {
		return Layout{}, fmt.Errorf("WEFT_CLUSTER_DIR %q and WEFT_CACHE %q must be absolute paths", state, cache)
	}
	return Layout{State: filepath.Clean(state), Cache: filepath.Clean(cache)}, nil
}

// Path is a path under the state folder.
func (l Layout) Path(elem ...string) string {
	return filepath.Join(append([]string{l.State}, elem...)...)
}

// Bin is the path of a cached binary.
func (l Layout) Bin(name string) string { return filepath.Join(l.Cache, "bin", name) }

// Kubeconfig is the administrator's kubeconfig.
func (l Layout) Kubeconfig() string { return l.Path("kubeconfig") }

// Write puts data at a path under the state folder, in one step so that a killed
// run leaves no half-written file.
func (l Layout) Write(data []byte, elem ...string) error {
	return WriteFile(l.Path(elem...), data)
}

// WriteFile replaces a file in one step and makes its folder when missing.
func WriteFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", path, err)
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return nil
}
