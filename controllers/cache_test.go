package controllers

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/policy/extensions"
)

// TestOfConfigMaps: what is kept of people's ConfigMaps is what Weft may have to read.
func TestOfConfigMaps(t *testing.T) {
	long := strings.Repeat("x", extensions.MaxScript+100)
	cm := &corev1.ConfigMap{
		Data:       map[string]string{"ca.crt": "pem", "a.lua": "x = 1", "long.lua": long, "password": "secret", "jwks.json": "{}", "a-jwks": "{}", "jwks.txt": "{}", "a.data.yaml": "a: b", "b.yaml": "a: b", "a.rego": "package weft.v1"},
		BinaryData: map[string][]byte{"a.wasm": []byte("module"), "key": []byte("secret")},
	}
	if _, err := trimConfigMap(cm); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"ca.crt": "pem", "a.lua": "x = 1", "long.lua": long[:extensions.MaxScript+1], "password": "", "jwks.json": "{}", "a-jwks": "{}", "jwks.txt": "", "a.data.yaml": "a: b", "b.yaml": "", "a.rego": "package weft.v1"} {
		if got, has := cm.Data[key]; !has || got != want {
			t.Errorf("%s: %d bytes, want %d", key, len(got), len(want))
		}
	}
	if secret, has := cm.BinaryData["key"]; !has || secret != nil || string(cm.BinaryData["a.wasm"]) != "module" {
		t.Errorf("%q", cm.BinaryData)
	}
}

// TestOfSecrets: what is kept of people's Secrets is what Weft may have to read.
func TestOfSecrets(t *testing.T) {
	for kind, read := range map[corev1.SecretType]bool{
		corev1.SecretTypeTLS: true, v1alpha1.SecretTypeCredentials: true, corev1.SecretTypeOpaque: false, "helm.sh/release.v1": false, "example.com/x": true,
	} {
		if got := readSecrets.Matches(fields.Set{"type": string(kind)}); got != read {
			t.Errorf("%s is watched: %v", kind, got)
		}
		s := &corev1.Secret{Type: kind, Data: map[string][]byte{"a": []byte("b")}}
		if _, err := trimSecret(s); err != nil {
			t.Fatal(err)
		}
		if kept := len(s.Data) > 0; kept != (read && kind != "example.com/x") {
			t.Errorf("what %s has is kept: %v", kind, kept)
		}
	}
}

// TestSecretsAreFound: what an API server sends of Secrets, by what Weft asks it for.
func TestSecretsAreFound(t *testing.T) {
	config := apiServer(t)
	c := newClient(t, config)
	options := CacheOptions("")
	options.Scheme = c.Scheme()
	found, err := cache.New(config, options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- found.Start(ctx) }()
	defer func() { cancel(); <-ended }()
	for name, kind := range map[string]corev1.SecretType{"keys": v1alpha1.SecretTypeCredentials, "other": corev1.SecretTypeOpaque} {
		create(t, c, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Type: kind, Data: map[string][]byte{"ann": []byte("key")}})
	}
	var all corev1.SecretList
	if err := found.List(ctx, &all, client.InNamespace("default")); err != nil {
		t.Fatal(err)
	}
	if len(all.Items) != 1 || all.Items[0].Name != "keys" || string(all.Items[0].Data["ann"]) != "key" {
		t.Errorf("%d Secrets are found: %v", len(all.Items), all.Items)
	}
	changed := all.Items[0].DeepCopy()
	changed.Data["ann"] = []byte("another")
	if err := c.Update(ctx, changed); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a change is told of", func(ctx context.Context) bool {
		var s corev1.Secret
		return found.Get(ctx, client.ObjectKeyFromObject(changed), &s) == nil && string(s.Data["ann"]) == "another"
	}, func() string { return "it is not" })
}

// TestTrimmedPodsSayWhetherTheyAreReady: what is kept of a pod's conditions says what they all said.
func TestTrimmedPodsSayWhetherTheyAreReady(t *testing.T) {
	const yes, no = corev1.ConditionTrue, corev1.ConditionFalse
	for _, said := range []struct{ containers, ready corev1.ConditionStatus }{{yes, yes}, {yes, no}, {no, no}} { // one is ready with its containers
		pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: yes}, {Type: corev1.PodReady, Status: said.ready}, {Type: corev1.ContainersReady, Status: said.containers}}}}
		kept, _ := trimPod(pod)
		trimmed := kept.(*corev1.Pod)
		if cluster.Ready(trimmed) != cluster.Ready(pod) || cluster.SaysReady(trimmed) != cluster.SaysReady(pod) {
			t.Errorf("%+v: kept %v", said, trimmed.Status.Conditions)
		}
	}
}
