package download

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// What begins the URL of an artifact in a registry, by HTTPS and by HTTP.
const (
	OCI      = "oci://"
	PlainOCI = "oci+http://"
)

// Limits of one artifact.
const (
	maxManifest = 1 << 20
	maxLayers   = 64
	maxIndex    = 16 // manifests of one
)

// pull gets what has a digest from an artifact: a layer as it is, as of Wasm and of policies that are pushed file by file,
// or a file in a layer, as of images and of OPA's bundles. What the manifest says of its kind does not matter.
func (g *Getter) pull(ctx context.Context, reference string, plain bool, s *search) (string, error) {
	at, err := remote.NewRepository(reference)
	if err != nil || at.Reference.Reference == "" {
		return "", Mismatch{"names no artifact: write " + OCI + "<registry>/<repository>:<tag>, or @sha256:<digest> in the place of the tag"}
	}
	at.Client, at.PlainHTTP, at.MaxMetadataBytes = &auth.Client{Client: g.client, Cache: auth.NewCache()}, plain, maxManifest
	layers, err := layersOf(ctx, at, at.Reference.Reference, maxIndex)
	if err != nil {
		return "", ofRegistry(err)
	}
	for _, l := range layers {
		if l.Digest.String() == "sha256:"+s.digest {
			return blob(ctx, at, l, s.most)
		}
	}
	for _, l := range layers {
		if text, found, err := s.layer(ctx, at, l); found || err != nil {
			return text, err
		}
	}
	return "", s.nothing()
}

// layersOf are those of a manifest or, of an index, of as many as most of its manifests: an index in an index has none.
func layersOf(ctx context.Context, at *remote.Repository, reference string, most int) (out []ocispec.Descriptor, err error) {
	is, body, err := at.Manifests().FetchReference(ctx, reference)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if is.Size > maxManifest { // as the registry says
		return nil, Mismatch{fmt.Sprintf("has a manifest of more than %d bytes", maxManifest)}
	}
	text, err := content.ReadAll(body, is)
	if err != nil {
		return nil, err
	}
	var manifest struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
		Layers    []ocispec.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return nil, Mismatch{"has a manifest that cannot be read: " + err.Error()}
	}
	out = manifest.Layers
	for _, m := range manifest.Manifests[:min(len(manifest.Manifests), most)] {
		of, err := layersOf(ctx, at, m.Digest.String(), 0)
		if err != nil {
			return nil, err
		}
		out = append(out, of...)
	}
	return out[:min(len(out), maxLayers)], nil
}

// blob is a layer as it is.
func blob(ctx context.Context, at *remote.Repository, layer ocispec.Descriptor, most int64) (string, error) {
	if layer.Size > most {
		return "", tooLarge(most)
	}
	body, err := at.Blobs().Fetch(ctx, layer)
	if err != nil {
		return "", ofRegistry(err)
	}
	defer body.Close()
	text, err := content.ReadAll(body, layer)
	if err != nil {
		return "", ofRegistry(err)
	}
	return string(text), nil
}

// layer looks into one that is an archive, and notes another one.
func (s *search) layer(ctx context.Context, at *remote.Repository, layer ocispec.Descriptor) (text string, found bool, err error) {
	if !strings.Contains(layer.MediaType, "tar") {
		name := layer.Annotations[ocispec.AnnotationTitle]
		if name == "" {
			name = layer.MediaType
		}
		s.note(name, strings.TrimPrefix(layer.Digest.String(), "sha256:")) // which may be anything
		return "", false, nil
	}
	if layer.Size > maxArchive {
		return "", false, Mismatch{fmt.Sprintf("has a layer of more than %d bytes", maxArchive)}
	}
	body, err := at.Blobs().Fetch(ctx, layer)
	if err != nil {
		return "", false, ofRegistry(err)
	}
	defer body.Close()
	return s.unpack(body)
}

// ofRegistry says why something did not come from one.
func ofRegistry(err error) error {
	var answer *errcode.ErrorResponse
	switch {
	case errors.As(err, new(Mismatch)):
		return err
	case errors.Is(err, errdef.ErrNotFound):
		return errors.New("cannot be fetched: its registry answers 404")
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return fmt.Errorf("cannot be fetched: its registry answers %d: it must let everybody read", answer.StatusCode)
	case errors.As(err, &answer):
		return fmt.Errorf("cannot be fetched: its registry answers %d", answer.StatusCode)
	}
	return fmt.Errorf("cannot be fetched: %w", reason(err))
}
