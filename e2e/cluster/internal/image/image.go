// Package image writes container images without a registry or a container
// engine: a docker archive with one layer, built from files on this machine.
// The same input always gives the same bytes.
package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"
)

// Image is what an archive holds.
type Image struct {
	// Name is the full reference: registry, repository and tag.
	Name  string
	Files []File
	// User runs the entrypoint: a numeric user, and after a colon its group.
	User       string
	Entrypoint []string
	Cmd        []string
	Labels     map[string]string
}

// File copies a file into the image.
type File struct {
	// Source is the path on this machine, symbolic links followed.
	Source string
	// Path is the absolute path in the image.
	Path string
}

type manifestEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type runConfig struct {
	User       string            `json:"User,omitempty"`
	Env        []string          `json:"Env"`
	Entrypoint []string          `json:"Entrypoint,omitempty"`
	Cmd        []string          `json:"Cmd,omitempty"`
	WorkingDir string            `json:"WorkingDir"`
	Labels     map[string]string `json:"Labels,omitempty"`
}

type imageConfig struct {
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Created      time.Time `json:"created"`
	Config       runConfig `json:"config"`
	RootFS       rootFS    `json:"rootfs"`
}

// Write writes the archive. The layer is produced twice, once to learn its
// digest and size, so that no image needs to fit in memory or on the disk.
func (i Image) Write(w io.Writer) error {
	digest := sha256.New()
	var size counter
	if err := i.writeLayer(io.MultiWriter(digest, &size)); err != nil {
		return err
	}
	layer := hex.EncodeToString(digest.Sum(nil))
	config, err := json.Marshal(i.config(layer))
	if err != nil {
		return fmt.Errorf("encode the config of image %s: %w", i.Name, err)
	}
	configSum := sha256.Sum256(config)
	configName := hex.EncodeToString(configSum[:]) + ".json"
	layerName := layer + "/layer.tar"
	manifest, err := json.Marshal([]manifestEntry{{Config: configName, RepoTags: []string{i.Name}, Layers: []string{layerName}}})
	if err != nil {
		return fmt.Errorf("encode the manifest of image %s: %w", i.Name, err)
	}
	return i.writeArchive(w, configName, config, layerName, int64(size), manifest)
}

func (i Image) writeArchive(w io.Writer, configName string, config []byte, layerName string, layerSize int64, manifest []byte) error {
	archive := tar.NewWriter(w)
	for _, entry := range []struct {
		name string
		data []byte
	}{{configName, config}, {"manifest.json", manifest}} {
		if err := writeEntry(archive, entry.name, 0o644, entry.data); err != nil {
			return err
		}
	}
	if err := archive.WriteHeader(header(layerName, 0o644, layerSize)); err != nil {
		return fmt.Errorf("write the layer of image %s: %w", i.Name, err)
	}
	if err := i.writeLayer(archive); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("end the archive of image %s: %w", i.Name, err)
	}
	return nil
}

func (i Image) config(layer string) imageConfig {
	return imageConfig{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Created:      time.Unix(0, 0).UTC(),
		Config: runConfig{
			User:       i.User,
			Env:        []string{"PATH=/usr/local/bin:/usr/bin:/bin"},
			Entrypoint: i.Entrypoint,
			Cmd:        i.Cmd,
			WorkingDir: "/",
			Labels:     i.Labels,
		},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{"sha256:" + layer}},
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
