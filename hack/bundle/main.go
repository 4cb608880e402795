// Command bundle writes bundle/, the registry+v1 bundle of the Operator Lifecycle Manager, and
// bundle.Dockerfile.
//
//	kustomize build config/manifests → csv.go → bundle/manifests, metadata, tests
//
// It runs in the repository's root.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	syaml "sigs.k8s.io/yaml"
)

// Where everything is.
const (
	source = "config/manifests"
	target = "bundle"
	icon   = source + "/bases/weft.svg"
)

func main() {
	log.SetFlags(0)
	kustomize := flag.String("kustomize", "kustomize", "path of kustomize")
	version := flag.String("version", "", "of the release, such as v0.1.0")
	flag.Parse()
	if err := run(*kustomize, *version); err != nil {
		log.Fatal("bundle: ", err)
	}
}

func run(kustomize, version string) error {
	built, err := exec.Command(kustomize, "build", source).Output()
	if err != nil {
		return fmt.Errorf("kustomize build %s: %w", source, err)
	}
	objects, err := decode(built)
	if err != nil {
		return fmt.Errorf("read what kustomize built: %w", err)
	}
	picture, err := os.ReadFile(icon)
	if err != nil {
		return fmt.Errorf("read the icon: %w", err)
	}
	if err := os.RemoveAll(target); err != nil {
		return fmt.Errorf("remove the old bundle: %w", err)
	}
	csv := clusterServiceVersion(objects, strings.TrimPrefix(version, "v"), picture)
	return writeAll(append(shipped(objects), csv))
}

func decode(text []byte) (objects []*unstructured.Unstructured, err error) {
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		if err := documents.Decode(&o.Object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
}

func ofKind(objects []*unstructured.Unstructured, kinds ...string) (found []*unstructured.Unstructured) {
	for _, o := range objects {
		if slices.Contains(kinds, o.GetKind()) {
			found = append(found, o)
		}
	}
	return found
}

// shipped are the objects that lie in the bundle beside the CSV: what it cannot hold itself. Their
// namespace is the one that the operator is installed in.
func shipped(objects []*unstructured.Unstructured) (out []*unstructured.Unstructured) {
	for _, o := range ofKind(objects, "CustomResourceDefinition", "Service", "ClusterRole") {
		if o.GetKind() == "ClusterRole" && o.GetName() == operator {
			continue // it is the CSV's clusterPermissions
		}
		o = o.DeepCopy()
		o.SetNamespace("")
		out = append(out, o)
	}
	return out
}

func writeAll(objects []*unstructured.Unstructured) error {
	files := map[string][]byte{
		"bundle.Dockerfile":                     []byte(dockerfile()),
		target + "/metadata/annotations.yaml":   []byte(annotationsFile()),
		target + "/tests/scorecard/config.yaml": []byte(scorecard),
	}
	for _, o := range objects {
		text, err := syaml.Marshal(o.Object)
		if err != nil {
			return fmt.Errorf("write %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		files[target+"/manifests/"+fileName(o)] = text
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return nil
}

func fileName(o *unstructured.Unstructured) string {
	switch o.GetKind() {
	case "ClusterServiceVersion":
		return "weft.clusterserviceversion.yaml"
	case "CustomResourceDefinition":
		plural, group, _ := strings.Cut(o.GetName(), ".")
		return group + "_" + plural + ".yaml"
	}
	return o.GetName() + "." + strings.ToLower(o.GetKind()) + ".yaml"
}
