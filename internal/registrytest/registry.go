// Package registrytest gives tests a registry of OCI artifacts.
package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"
)

// Layer is one of an artifact.
type Layer struct {
	MediaType string
	Title     string
	Content   []byte
}

// Handler is a registry that keeps in memory what is pushed to it.
func Handler() http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }

// Push puts an artifact where a reference says, by HTTP.
func Push(tb testing.TB, reference string, layers ...Layer) {
	tb.Helper()
	to, err := remote.NewRepository(reference)
	if err != nil {
		tb.Fatal(err)
	}
	to.PlainHTTP = true
	if err := push(tb.Context(), to, layers); err != nil {
		tb.Fatalf("push %s: %v", reference, err)
	}
}

func push(ctx context.Context, to *remote.Repository, layers []Layer) error {
	here, tag := memory.New(), to.Reference.Reference
	options := oras.PackManifestOptions{}
	for _, l := range layers {
		d, err := oras.PushBytes(ctx, here, l.MediaType, l.Content)
		if err != nil {
			return err
		}
		if l.Title != "" {
			d.Annotations = map[string]string{ocispec.AnnotationTitle: l.Title}
		}
		options.Layers = append(options.Layers, d)
	}
	manifest, err := oras.PackManifest(ctx, here, oras.PackManifestVersion1_1, "application/vnd.weft.test", options)
	if err != nil {
		return err
	}
	if err := here.Tag(ctx, manifest, tag); err != nil {
		return err
	}
	_, err = oras.Copy(ctx, here, tag, to, tag, oras.DefaultCopyOptions)
	return err
}

// Archive has some files, by their names.
func Archive(tb testing.TB, files map[string]string) []byte {
	tb.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name]))})
		if err == nil {
			_, err = io.WriteString(archive, files[name])
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if archive.Close() != nil || zipped.Close() != nil {
		tb.Fatal("the archive does not end")
	}
	return out.Bytes()
}
