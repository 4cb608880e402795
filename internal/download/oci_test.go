package download

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/registrytest"
)

const (
	wasmLayer = "application/wasm"
	fileLayer = "application/vnd.cncf.openpolicyagent.policy.layer.v1+rego"
	tarLayer  = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// TestArtifact: what is asked for is found in an artifact as a layer and as a file of one, by a tag and by the manifest's
// digest; and of what is not there it is told what is.
func TestArtifact(t *testing.T) {
	s := httptest.NewServer(registrytest.Handler())
	t.Cleanup(s.Close)
	at, g := strings.TrimPrefix(s.URL, "http://")+"/team/modules", New(anywhere)
	bundle := registrytest.Archive(t, map[string]string{"law/orders.rego": "good", "law/more.rego": "more", "README": strings.Repeat("long ", 10)})
	registrytest.Push(t, at+":wasm", registrytest.Layer{MediaType: wasmLayer, Title: "plugin.wasm", Content: []byte("good")})
	registrytest.Push(t, at+":files", registrytest.Layer{MediaType: fileLayer, Content: []byte("else")}, registrytest.Layer{MediaType: fileLayer, Content: []byte("good")})
	registrytest.Push(t, at+":bundle", registrytest.Layer{MediaType: tarLayer, Content: bundle})
	registrytest.Push(t, at+":other", registrytest.Layer{MediaType: wasmLayer, Title: "plugin.wasm", Content: []byte("other")})
	registrytest.Push(t, at+":others", registrytest.Layer{MediaType: tarLayer, Content: registrytest.Archive(t, map[string]string{"a.rego": "other"})})
	registrytest.Push(t, at+":torn", registrytest.Layer{MediaType: tarLayer, Content: bundle[:len(bundle)/2]})
	registrytest.Push(t, at+":none", registrytest.Layer{MediaType: tarLayer, Content: []byte("this is no archive at all, and has no header of one" + strings.Repeat(".", 600))})
	for tag, want := range map[string]string{
		"wasm": "", "files": "", "bundle": "",
		"other":   fmt.Sprintf("but %q of %s: set that", "plugin.wasm", digest("other")),
		"others":  fmt.Sprintf("but %q of %s: set that", "a.rego", digest("other")),
		"missing": "cannot be fetched: its registry answers 404",
		"torn":    "cannot be fetched: unexpected EOF",
		"none":    "is no archive that can be read",
	} {
		text, err := g.Get(t.Context(), PlainOCI+at+":"+tag, digest("good"), 8)
		if want == "" && (err != nil || text != "good") || want != "" && (err == nil || !strings.Contains(err.Error(), want) || text != "") {
			t.Errorf("%s: %q, %v; want %q", tag, text, err, want)
		}
		if waits := tag == "missing" || tag == "torn"; err != nil && errors.As(err, new(Mismatch)) == waits {
			t.Errorf("%s: that it is a Mismatch is %v", tag, !waits)
		}
	}
	if _, err := g.Get(t.Context(), PlainOCI+at+":wasm", digest("good"), 3); err == nil || !strings.Contains(err.Error(), "more than 3 bytes") {
		t.Errorf("of a layer that is too large: %v", err)
	}
}

// TestIndexOfArtifacts: what an index names is looked into.
func TestIndexOfArtifacts(t *testing.T) {
	s := httptest.NewServer(registrytest.Handler())
	t.Cleanup(s.Close)
	at := strings.TrimPrefix(s.URL, "http://") + "/team/modules"
	registrytest.Push(t, at+":one", registrytest.Layer{MediaType: wasmLayer, Content: []byte("good")})
	manifest, size := manifestOf(t, s.URL, "one")
	index := fmt.Sprintf(`{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": %q, "size": %d}]}`, manifest, size)
	put, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+"/v2/team/modules/manifests/all", strings.NewReader(index))
	if err != nil {
		t.Fatal(err)
	}
	put.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	if response, err := http.DefaultClient.Do(put); err != nil || response.StatusCode != http.StatusCreated {
		t.Fatalf("%+v, %v", response, err)
	}
	for _, reference := range []string{":all", "@" + manifest} {
		if text, err := New(anywhere).Get(t.Context(), PlainOCI+at+reference, digest("good"), 8); err != nil || text != "good" {
			t.Errorf("%s: %q, %v", reference, text, err)
		}
	}
}

func manifestOf(t *testing.T, url, tag string) (digest string, size int64) {
	t.Helper()
	response, err := http.Get(url + "/v2/team/modules/manifests/" + tag)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.Header.Get("Docker-Content-Digest"), response.ContentLength
}

// TestHostileRegistry: whatever a registry says of an artifact is an error at most.
func TestHostileRegistry(t *testing.T) {
	answer := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := answer
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		if text == "endless" {
			w.Header().Set("Docker-Content-Digest", "sha256:"+digest(text))
			w.Header().Set("Content-Length", "1000000000000000")
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(s.Close)
	at := strings.TrimPrefix(s.URL, "http://") + "/team/modules:one"
	for _, answer = range []string{
		"endless", "", "{", "[]", `{"layers": [{}]}`, `{"layers": [{"digest": "x"}]}`, `{"layers": [{"digest": "x", "mediaType": "tar"}]}`,
		`{"layers": [{"digest": "sha256:` + digest("good") + `", "size": -1}]}`, `{"layers": [{"digest": "sha256:` + digest("good") + `", "size": 8}]}`,
		`{"layers": [{"digest": "sha256:` + digest("else") + `", "size": -1, "mediaType": "tar"}]}`,
		`{"manifests": [{"digest": "x"}]}`, `{"manifests": [{"digest": "one"}]}`, `{"manifests": [{}]}`,
	} {
		if text, err := New(anywhere).Get(t.Context(), PlainOCI+at, digest("good"), 8); err == nil || text != "" {
			t.Errorf("%s: %q, %v", answer, text, err)
		}
	}
}

// TestRegistries: what a registry says to nobody in particular, and names of artifacts that are none.
func TestRegistries(t *testing.T) {
	closed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who are you?", http.StatusUnauthorized) }))
	t.Cleanup(closed.Close)
	at := strings.TrimPrefix(closed.URL, "http://")
	for url, want := range map[string]string{
		PlainOCI + at + "/team/modules:one": "it must let everybody read",
		OCI + at + "/team/modules:one":      "HTTP response to HTTPS client",
		PlainOCI + at + "/team/modules":     "names no artifact",
		OCI + "team/Modules:one":            "names no artifact",
		PlainOCI:                            "names no artifact",
	} {
		if text, err := New(anywhere).Get(t.Context(), url, digest("good"), 8); err == nil || !strings.Contains(err.Error(), want) || text != "" {
			t.Errorf("%s: %q, %v; want %q", url, text, err, want)
		}
	}
	if _, err := New(nil).Get(t.Context(), PlainOCI+at+"/team/modules:one", digest("good"), 8); err == nil || !strings.Contains(err.Error(), "own machine") {
		t.Errorf("%v", err)
	}
}

// TestBundle: a file is found in an archive that a server has.
func TestBundle(t *testing.T) {
	bundle := registrytest.Archive(t, map[string]string{"law/orders.rego": "good", "law/more.rego": "more", "data.json": "{}"})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bundle.tar.gz":
			_, _ = w.Write(bundle)
		case "/cut.tgz":
			w.Header().Set("Content-Length", fmt.Sprint(len(bundle)))
			_, _ = w.Write(bundle[:len(bundle)/2])
		}
	}))
	t.Cleanup(s.Close)
	g := New(anywhere)
	for path, want := range map[string]string{"/bundle.tar.gz": "", "/cut.tgz": "unexpected EOF"} {
		text, err := g.Get(t.Context(), s.URL+path, digest("good"), 8)
		if want == "" && (err != nil || text != "good") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %q, %v; want %q", path, text, err, want)
		}
	}
	if _, err := g.Get(t.Context(), s.URL+"/bundle.tar.gz", digest("bad"), 8); err == nil || !strings.Contains(err.Error(), digest("more")) || !errors.As(err, new(Mismatch)) {
		t.Errorf("of another digest: %v", err)
	}
}

// TestBomb: an archive that is larger, unpacked, than any may be is left off.
func TestBomb(t *testing.T) {
	s := search{digest: digest("good"), most: 8, left: 1 << 20}
	bomb := registrytest.Archive(t, map[string]string{"a": strings.Repeat("\x00", 1<<20), "b": "good"})
	if text, found, err := s.unpack(bytes.NewReader(bomb)); found || !errors.As(err, new(Mismatch)) || !strings.Contains(err.Error(), "bytes, unpacked") {
		t.Errorf("%q, %v, %v", text, found, err)
	}
}

// FuzzUnpack: whatever a server calls an archive, what is found in it has the digest, and no more bytes than it may.
func FuzzUnpack(f *testing.F) {
	f.Add(registrytest.Archive(f, map[string]string{"a.rego": "good", "b.rego": "too much of it"}))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		s := search{digest: digest("good"), most: 8, left: 1 << 20}
		if text, found, err := s.unpack(bytes.NewReader(archive)); found && (err != nil || text != "good") || !found && text != "" || len(s.seen) > maxSeen {
			t.Errorf("%q, %v, %v; seen %q", text, found, err, s.seen)
		}
	})
}
