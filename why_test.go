package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

var update = flag.Bool("update", false, "write what comes out")

// storyTime is a Saturday.
var storyTime = time.Date(2026, 8, 1, 9, 0, 0, 0, time.UTC)

// TestWhyStories: objects, a command, and what it says.
func TestWhyStories(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/why/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			story, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w := &whyStory{files: map[string][]byte{}}
			out := &txtar.Archive{Comment: story.Comment}
			for _, f := range story.Files {
				switch step, kind, _ := strings.Cut(f.Name, "."); kind {
				case "yaml":
					w.objects = append(w.objects, f.Data)
				case "json":
					w.files[f.Name] = f.Data
				case "cmd":
					out.Files = append(out.Files, f, txtar.File{Name: step + ".out", Data: w.runs(t, string(f.Data))})
					continue
				default:
					continue
				}
				out.Files = append(out.Files, f)
			}
			if got := txtar.Format(out); *update {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			} else if want, err := os.ReadFile(file); err != nil || string(want) != string(got) {
				t.Errorf("%s tells another story, %v (accept it with -update):\n%s", file, err, got)
			}
		})
	}
}

// whyStory is what there is when a command runs.
type whyStory struct {
	objects [][]byte
	files   map[string][]byte
}

// runs is what a command says, and with what code it ends.
func (w *whyStory) runs(t *testing.T, command string) []byte {
	t.Helper()
	var out bytes.Buffer
	e := explanation{out: &out, now: storyTime, cluster: func(s *runtime.Scheme) (client.Reader, error) { return w.cluster(t, s), nil }}
	e.files = func(name string) ([]byte, error) {
		if data, is := w.files[name]; is {
			return data, nil
		}
		return nil, os.ErrNotExist
	}
	args := words(command)
	if len(args) < 2 || args[0] != "weft" || args[1] != "why" {
		t.Fatalf("%q is no weft why", args)
	}
	err, end := e.run(t.Context(), args[2:]), exit{}
	if errors.As(err, &end); end.error != nil {
		fmt.Fprintln(&out, "weft:", end.error)
	}
	fmt.Fprintf(&out, "exit status %d\n", end.code)
	return out.Bytes()
}

// words are those of a command, of which some are in single quotes.
func words(command string) (out []string) {
	for i, part := range strings.Split(strings.ReplaceAll(command, "\\\n", " "), "'") {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

// cluster has the objects.
func (w *whyStory) cluster(t *testing.T, s *runtime.Scheme) client.Reader {
	t.Helper()
	decoder, b := serializer.NewCodecFactory(s, serializer.EnableStrict).UniversalDeserializer(), fake.NewClientBuilder().WithScheme(s)
	for _, stream := range w.objects {
		for _, doc := range bytes.Split(stream, []byte("\n---\n")) {
			o, _, err := decoder.Decode(doc, nil, nil)
			if err != nil {
				t.Fatalf("%v in\n%s", err, doc)
			}
			object, ok := o.(client.Object)
			if !ok {
				t.Fatalf("%T is no object", o)
			}
			b.WithObjects(object)
		}
	}
	return b.Build()
}
