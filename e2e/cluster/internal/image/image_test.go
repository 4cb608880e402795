package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample is an image of one executable with a fixed content.
func sample(t *testing.T) Image {
	t.Helper()
	source := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(source, []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	return Image{
		Name: "example.com/weft:v1", User: "65532:65532", Entrypoint: []string{"/usr/bin/weft"},
		Files:  []File{{Source: source, Path: "/usr/bin/weft"}},
		Labels: map[string]string{"a": "b"},
	}
}

func archive(t *testing.T, i Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := i.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func entries(t *testing.T, data []byte) (map[string][]byte, map[string]*tar.Header) {
	t.Helper()
	contents, headers := map[string][]byte{}, map[string]*tar.Header{}
	reader := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return contents, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		if contents[h.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
		headers[h.Name] = h
	}
}

func TestWriteIsDeterministic(t *testing.T) {
	first := sample(t)
	second := sample(t) // the same content in another place at another time
	if !bytes.Equal(archive(t, first), archive(t, second)) {
		t.Error("two archives of the same image differ")
	}
}

func TestWriteLinksManifestConfigAndLayer(t *testing.T) {
	contents, _ := entries(t, archive(t, sample(t)))
	var manifest []manifestEntry
	if err := json.Unmarshal(contents["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || len(manifest[0].Layers) != 1 || manifest[0].RepoTags[0] != "example.com/weft:v1" {
		t.Fatalf("manifest is %+v", manifest)
	}
	config := contents[manifest[0].Config]
	if name := digestOf(config) + ".json"; name != manifest[0].Config {
		t.Errorf("the config is named %s, its digest gives %s", manifest[0].Config, name)
	}
	var decoded imageConfig
	if err := json.Unmarshal(config, &decoded); err != nil {
		t.Fatal(err)
	}
	if want := "sha256:" + digestOf(contents[manifest[0].Layers[0]]); decoded.RootFS.DiffIDs[0] != want {
		t.Errorf("the config names layer %s, the layer is %s", decoded.RootFS.DiffIDs[0], want)
	}
	if decoded.Config.User != "65532:65532" || decoded.Config.Entrypoint[0] != "/usr/bin/weft" || decoded.Config.Labels["a"] != "b" {
		t.Errorf("config is %+v", decoded.Config)
	}
}

func TestLayerHoldsFilesFoldersAndAccounts(t *testing.T) {
	var layer bytes.Buffer
	if err := sample(t).writeLayer(&layer); err != nil {
		t.Fatal(err)
	}
	contents, headers := entries(t, layer.Bytes())
	for name, mode := range map[string]int64{"usr/": 0o755, "usr/bin/": 0o755, "tmp/": 0o1777, "etc/passwd": 0o644, "usr/bin/weft": 0o755} {
		h := headers[name]
		if h == nil || h.Mode != mode || h.Uid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s has header %+v, want mode %o, user 0 and no time", name, h, mode)
		}
	}
	if !strings.Contains(string(contents["etc/passwd"]), "nonroot:x:65532:65532:") {
		t.Errorf("/etc/passwd is %q", contents["etc/passwd"])
	}
	if string(contents["usr/bin/weft"]) != "#!" {
		t.Errorf("/usr/bin/weft is %q", contents["usr/bin/weft"])
	}
}

func TestWriteNamesTheMissingFile(t *testing.T) {
	i := sample(t)
	i.Files = append(i.Files, File{Source: "/nowhere", Path: "/x"})
	err := i.Write(io.Discard)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("Write says %v, want it to name the missing file", err)
	}
	i.Files[1].Source = t.TempDir()
	if err := i.Write(io.Discard); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Write of a folder says %v", err)
	}
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
