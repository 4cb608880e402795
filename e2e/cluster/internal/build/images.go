package build

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/weft-mesh/weft/e2e/cluster/internal/image"
)

// nonRoot is the account that distroless images use.
const nonRoot = "65532:65532"

// Image describes the image of an artifact that is built already. The stamp
// changes with what is in the image.
func (b Builder) Image(artifact Artifact) (i image.Image, stamp string, err error) {
	path := "/" + artifact.Name
	stamp, err = b.stamp(artifact)
	return image.Image{
		Name: artifact.Image, User: nonRoot, Entrypoint: []string{path},
		Files: []image.File{{Source: b.Layout.Bin(artifact.Name), Path: path}},
	}, stamp, err
}

// EnvoyImage describes an image with the name, the entrypoint and the user of
// the official distroless one: the binary and the C library that it needs.
func (b Builder) EnvoyImage(ctx context.Context) (i image.Image, stamp string, err error) {
	binary, err := b.Envoy(ctx)
	if err != nil {
		return image.Image{}, "", err
	}
	libraries, err := librariesOf(ctx, binary)
	if err != nil {
		return image.Image{}, "", err
	}
	return image.Image{
		Name: EnvoyImage, User: nonRoot,
		Entrypoint: []string{"/usr/local/bin/envoy"}, Cmd: []string{"-c", "/etc/envoy/envoy.yaml"},
		Files: append(libraries, image.File{Source: binary, Path: "/usr/local/bin/envoy"}),
	}, envoyWheel, nil
}

// library matches the path in a line of ldd, such as
// "libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x7f...)".
var library = regexp.MustCompile(`(/\S+) \(0x[0-9a-f]+\)`)

func librariesOf(ctx context.Context, binary string) ([]image.File, error) {
	out, err := exec.CommandContext(ctx, "ldd", binary).Output()
	if err != nil {
		return nil, fmt.Errorf("list the libraries of %s: %w", binary, err)
	}
	var files []image.File
	for _, match := range library.FindAllSubmatch(out, -1) {
		files = append(files, image.File{Source: string(match[1]), Path: string(match[1])})
	}
	return files, nil
}

// CertManagerCRDs is the folder of cert-manager's CRDs in the module cache.
func (b Builder) CertManagerCRDs(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager")
	cmd.Dir = filepath.Join(b.Source, Controller.Module)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find cert-manager's CRDs: %w", err)
	}
	return filepath.Join(string(bytes.TrimSpace(out)), "deploy", "crds"), nil
}
