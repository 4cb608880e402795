package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// owner is the field manager of everything that the stage applies.
const owner = client.FieldOwner("weft-e2e")

// Decode reads the objects of a YAML text with several documents.
func Decode(text string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		object := new(unstructured.Unstructured)
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read YAML document %d: %w", len(objects)+1, err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// Apply applies the objects of a YAML text by server-side apply. Namespaced objects without a
// namespace go to the one given.
func (s *Stage) Apply(ctx context.Context, namespace, text string) error {
	objects, err := Decode(text)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := s.apply(ctx, namespace, object); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) apply(ctx context.Context, namespace string, object *unstructured.Unstructured) error {
	if err := s.settle(namespace, object); err != nil {
		return err
	}
	err := s.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), owner, client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply %s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
	}
	return nil
}

// settle gives a namespaced object that names no namespace the one given.
func (s *Stage) settle(namespace string, object *unstructured.Unstructured) error {
	if namespace == "" || object.GetNamespace() != "" {
		return nil
	}
	namespaced, err := s.IsObjectNamespaced(object)
	if err != nil {
		return fmt.Errorf("find kind %s: %w", object.GroupVersionKind(), err)
	}
	if namespaced {
		object.SetNamespace(namespace)
	}
	return nil
}

// Remove deletes the objects of a YAML text; those that are not there do not matter.
func (s *Stage) Remove(ctx context.Context, namespace, text string) error {
	objects, err := Decode(text)
	if err != nil {
		return err
	}
	for _, object := range objects {
		err := s.settle(namespace, object)
		if err == nil {
			err = s.Delete(ctx, object)
		}
		if err != nil && !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
			return fmt.Errorf("delete %s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
		}
	}
	return nil
}

// ApplyFiles applies every file that matches a pattern below the repository or a module.
func (s *Stage) ApplyFiles(ctx context.Context, pattern string) error {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no file matches %s", pattern)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := s.Apply(ctx, "", string(text)); err != nil {
			return err
		}
	}
	return nil
}
