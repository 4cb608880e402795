package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fieldManager owns the fields that Weft applies.
const fieldManager = client.FieldOwner("weft")

// appliedAnnotation holds a hash of what was applied last, so that a field that is no longer wanted
// is noticed although the live object has all that is.
const appliedAnnotation = "mesh.weft.dev/applied"

// apply makes want so by server-side apply, and writes nothing when the object in the cache
// holds all of it. want names its kind; its status is left out.
func apply(ctx context.Context, c client.Client, want client.Object) error {
	live, err := liveOf(ctx, c, want)
	if err != nil {
		return err
	}
	return applyOver(ctx, c, live, want)
}

// liveOf is the object in the cache that has want's kind and name; nil when there is none.
func liveOf(ctx context.Context, c client.Client, want client.Object) (client.Object, error) {
	kind := want.GetObjectKind().GroupVersionKind()
	made, err := c.Scheme().New(kind)
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind.Kind, keyOf(want), err)
	}
	live := made.(client.Object)
	if err := c.Get(ctx, client.ObjectKeyFromObject(want), live); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind.Kind, keyOf(want), err)
	} else if err != nil {
		return nil, nil
	}
	return live, nil
}

// applyOver is apply when live is known.
func applyOver(ctx context.Context, c client.Client, live, want client.Object) error {
	kind := want.GetObjectKind().GroupVersionKind().Kind
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(want)
	if err != nil {
		return fmt.Errorf("convert %s %s: %w", kind, keyOf(want), err)
	}
	wanted := &unstructured.Unstructured{Object: fields}
	delete(fields, "status")
	unstructured.RemoveNestedField(fields, "metadata", "creationTimestamp")
	stamp(wanted)
	if live != nil && holds(live, wanted.Object) {
		return nil
	}
	err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), fieldManager, client.ForceOwnership)
	if err != nil && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) { // what is there goes too
		return fmt.Errorf("apply %s %s: %w", kind, keyOf(want), err)
	}
	return nil
}

func stamp(wanted *unstructured.Unstructured) {
	annotations := wanted.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	delete(annotations, appliedAnnotation)
	wanted.SetAnnotations(annotations)
	text, err := json.Marshal(wanted.Object)
	if err != nil {
		panic(err) // an unstructured object is JSON
	}
	sum := sha256.Sum256(text)
	annotations[appliedAnnotation] = hex.EncodeToString(sum[:8])
	wanted.SetAnnotations(annotations)
}

// holds tells whether live has every field of want at want's value.
func holds(live client.Object, want map[string]any) bool {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(live)
	if err != nil {
		return false
	}
	fields["apiVersion"], fields["kind"] = want["apiVersion"], want["kind"] // typed objects may lack them
	return covers(fields, want)
}

// covers tells whether live has all of want. What the API server or others add beside is no
// difference: fields of a map, and elements of a list whose elements have names.
func covers(live, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		for k, v := range want {
			ok = ok && (empty(v) || covers(l[k], v))
		}
		return ok
	case []any:
		l, ok := live.([]any)
		return ok && coversList(l, want)
	default:
		return equality.Semantic.DeepEqual(live, want)
	}
}

func coversList(live, want []any) bool {
	byName := named(want)
	if !byName && len(live) != len(want) {
		return false
	}
	for i, w := range want {
		var l any
		if byName {
			l = element(live, w.(map[string]any)["name"])
		} else {
			l = live[i]
		}
		if !covers(l, w) {
			return false
		}
	}
	return true
}

// empty values are dropped by the API server or stand for their absence.
func empty(v any) bool {
	m, isMap := v.(map[string]any)
	return v == nil || isMap && len(m) == 0
}

func named(list []any) bool {
	for _, e := range list {
		if m, ok := e.(map[string]any); !ok || m["name"] == nil {
			return false
		}
	}
	return true
}

func element(list []any, name any) any {
	for _, e := range list {
		if m, ok := e.(map[string]any); ok && m["name"] == name {
			return m
		}
	}
	return nil
}
