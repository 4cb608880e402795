package controllers

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/extensions"
)

// TestOfConfigMaps: what is kept of people's ConfigMaps is what Weft may have to read.
func TestOfConfigMaps(t *testing.T) {
	long := strings.Repeat("x", extensions.MaxScript+100)
	cm := &corev1.ConfigMap{
		Data:       map[string]string{"ca.crt": "pem", "a.lua": "x = 1", "long.lua": long, "password": "secret", "jwks.json": "{}", "a-jwks": "{}", "jwks.txt": "{}"},
		BinaryData: map[string][]byte{"a.wasm": []byte("module"), "key": []byte("secret")},
	}
	if _, err := trimConfigMap(cm); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"ca.crt": "pem", "a.lua": "x = 1", "long.lua": long[:extensions.MaxScript+1], "password": "", "jwks.json": "{}", "a-jwks": "{}", "jwks.txt": ""} {
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
