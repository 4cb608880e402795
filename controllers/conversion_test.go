package controllers

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	first "github.com/weft-mesh/weft/api/smi/split/v1alpha1"
	second "github.com/weft-mesh/weft/api/smi/split/v1alpha2"
	third "github.com/weft-mesh/weft/api/smi/split/v1alpha3"
	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
)

// TestTrafficSplitConversion: the API server serves all versions by the operator's webhook, and what one
// of them cannot say outlives a change by it.
func TestTrafficSplitConversion(t *testing.T) {
	s := newWebhookStage(t)
	secret := servingSecret(t, 1)
	create(t, s.Client, secret)
	s.awaitSerial(1)
	crd := s.installTrafficSplits(secret)
	name := metav1.ObjectMeta{Namespace: "default", Name: "canary"}
	write := func(o client.Object) {
		t.Helper()
		eventually(t, "the kind", func(ctx context.Context) bool { return s.Create(ctx, o) == nil }, func() string { return fmt.Sprint(s.Create(t.Context(), o)) })
	}
	// As others stored it, before Weft's kinds came.
	write(&second.TrafficSplit{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "old"}, Spec: second.TrafficSplitSpec{
		Service: "web", Backends: []second.TrafficSplitBackend{{Service: "a", Weight: 1}}}})
	s.store(crd, "v1alpha4")
	old := &split.TrafficSplit{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "old"}}
	s.read(old)
	if b := old.Spec.Backends; len(b) != 1 || b[0].Weight != 1 {
		t.Errorf("what was stored as v1alpha2 is %+v", old.Spec)
	}
	s.do(s.Delete(t.Context(), old))
	write(smiObject(t, `{kind: TrafficSplit, metadata: {name: canary, namespace: default}, spec: {service: web, matches: [{kind: HTTPRouteGroup, name: ab}], backends: [{service: a, weight: 90}, {service: b, weight: 10}]}}`))
	stored := &split.TrafficSplit{ObjectMeta: name}
	s.read(stored)
	stored.Status.ObservedGeneration = 7
	s.do(s.Status().Update(t.Context(), stored))

	flaggers := &second.TrafficSplit{ObjectMeta: name}
	s.read(flaggers)
	if flaggers.Status.ObservedGeneration != 7 {
		t.Errorf("v1alpha2 has the status %+v", flaggers.Status)
	}
	flaggers.Spec.Backends[0].Weight, flaggers.Spec.Backends[1].Weight = 70, 30
	s.do(s.Update(t.Context(), flaggers))
	for _, o := range []client.Object{&first.TrafficSplit{ObjectMeta: name}, &second.TrafficSplit{ObjectMeta: name}, &third.TrafficSplit{ObjectMeta: name}} {
		s.read(o)
	}
	oldest := &first.TrafficSplit{ObjectMeta: name}
	s.read(oldest)
	if w := oldest.Spec.Backends[0].Weight; w.String() != "70" {
		t.Errorf("v1alpha1 has the weight %s", w.String())
	}
	s.read(stored)
	want := split.TrafficSplitSpec{Service: "web", Matches: []split.TrafficSplitMatch{{Kind: "HTTPRouteGroup", Name: "ab"}},
		Backends: []split.TrafficSplitBackend{{Service: "a", Weight: 70}, {Service: "b", Weight: 30}}}
	if !reflect.DeepEqual(stored.Spec, want) || len(stored.Annotations) > 0 {
		t.Errorf("v1alpha2 left %+v, annotations %v", stored.Spec, stored.Annotations)
	}
	var all third.TrafficSplitList
	s.do(s.List(t.Context(), &all))
	if len(all.Items) != 1 || !reflect.DeepEqual(all.Items[0].Spec.Matches, []third.TrafficSplitMatch{{Kind: "HTTPRouteGroup", Name: "ab"}}) {
		t.Errorf("v1alpha3 lists %+v", all.Items)
	}

	fractions := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit",
		"metadata": map[string]any{"name": "fractions", "namespace": "default"},
		"spec": map[string]any{"service": "web", "backends": []any{
			map[string]any{"service": "a", "weight": "900m"}, map[string]any{"service": "b", "weight": "100m"}}}}}
	s.do(s.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(fractions.DeepCopy()), client.FieldOwner("old")))
	stored = &split.TrafficSplit{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "fractions"}}
	s.read(stored)
	if b := stored.Spec.Backends; b[0].Weight != 900 || b[1].Weight != 100 {
		t.Errorf("900m and 100m are %+v", b)
	}
	s.do(s.Status().Update(t.Context(), stored)) // the default of it is not stored before
	version := stored.ResourceVersion
	s.do(s.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(fractions), client.FieldOwner("old")))
	if s.read(stored); stored.ResourceVersion != version {
		t.Error("what was applied again became another")
	}
}

// installTrafficSplits has the API server convert by the stage's webhook, and store v1alpha2.
func (s *webhookStage) installTrafficSplits(serving *corev1.Secret) *unstructured.Unstructured {
	s.Helper()
	text, err := os.ReadFile("../config/smi/bases/split.smi-spec.io_trafficsplits.yaml")
	s.do(err)
	crd := &unstructured.Unstructured{}
	s.do(yaml.Unmarshal(text, &crd.Object))
	s.do(unstructured.SetNestedMap(crd.Object, map[string]any{"strategy": "Webhook", "webhook": map[string]any{
		"conversionReviewVersions": []any{"v1"},
		"clientConfig": map[string]any{
			"url": fmt.Sprintf("https://127.0.0.1:%d/convert", s.port), "caBundle": base64.StdEncoding.EncodeToString(serving.Data[corev1.TLSCertKey]),
		},
	}}, "spec", "conversion"))
	storeAs(s.T, crd, "v1alpha2")
	create(s.T, s.Client, crd)
	return crd
}

// store has the API server store another version from now on.
func (s *webhookStage) store(crd *unstructured.Unstructured, version string) {
	s.Helper()
	s.do(s.Get(s.T.Context(), client.ObjectKeyFromObject(crd), crd))
	storeAs(s.T, crd, version)
	s.do(s.Update(s.T.Context(), crd))
	eventually(s.T, "the stored version", func(ctx context.Context) bool {
		err := s.Get(ctx, client.ObjectKeyFromObject(crd), crd)
		stored, _, _ := unstructured.NestedStringSlice(crd.Object, "status", "storedVersions")
		return err == nil && slices.Contains(stored, version)
	}, func() string { return fmt.Sprint(crd.Object["status"]) })
}

func storeAs(t *testing.T, crd *unstructured.Unstructured, version string) {
	t.Helper()
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		v.(map[string]any)["storage"] = v.(map[string]any)["name"] == version
	}
	if err == nil {
		err = unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *webhookStage) read(o client.Object) {
	s.Helper()
	s.do(s.Get(s.T.Context(), client.ObjectKeyFromObject(o), o))
}

func (s *webhookStage) do(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}
