package controllers

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

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
