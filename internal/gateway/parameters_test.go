package gateway

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// FuzzCheck: whatever a ConfigMap holds, Check answers, and what it lets pass makes objects that
// Weft still finds.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		"spec: {replicas: 3}", "spec: {replicas: null}", "metadata: {name: other}", "[]", "null", "{", "a: &a [*a]",
		"$patch: delete", "$retainKeys: [spec]", "spec: {template: {spec: {containers: [{name: envoy, $patch: delete}]}}}",
		"spec: {template: {spec: {$setElementOrder/containers: [{name: x}]}}}", "spec: {ports: [{port: 1}]}", "spec: {selector: null}",
	} {
		for _, key := range append(patchKeys, runtimeKey) {
			f.Add(key, seed)
		}
	}
	f.Fuzz(func(t *testing.T, key, text string) {
		cm := &corev1.ConfigMap{Data: map[string]string{key: text}}
		if Check(cm) != "" {
			return
		}
		p, _ := ParseParameters(cm)
		objects, problem := Objects(Input{Gateway: sample, Parameters: []Parameters{p}, Envoy: sampleEnvoy})
		if problem != "" {
			t.Fatalf("Check passed what Objects refuses: %s", problem)
		}
		for _, o := range objects {
			if o.GetName() != "sample-weft" || o.GetNamespace() != "sample" || o.GetLabels()[ManagedByLabel] != ManagedBy {
				t.Errorf("lost %s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
			}
		}
	})
}

func TestNames(t *testing.T) {
	long := strings.Repeat("long-name.", 25)
	for _, c := range []struct{ gateway, class, want string }{
		{"web", "weft", "web-weft"},
		{"shop.example", "weft", "shop-example-weft-"},
		{"9to5", "weft", "gw-9to5-weft-"},
		{long, "weft", "long-name-long-name-long-name-long-name-long-name-long"},
		{strings.Repeat("w", 60), "weft", strings.Repeat("w", 54) + "-"},
	} {
		g := &gwv1.Gateway{ObjectMeta: metav1.ObjectMeta{Name: c.gateway}, Spec: gwv1.GatewaySpec{GatewayClassName: gwv1.ObjectName(c.class)}}
		name := Name(g)
		if !strings.HasPrefix(name, c.want) || len(validation.IsDNS1035Label(name)) != 0 {
			t.Errorf("Gateway %s of %s: %s", c.gateway, c.class, name)
		}
		for _, v := range Selector(g) {
			if len(validation.IsValidLabelValue(v)) != 0 {
				t.Errorf("Gateway %s: label %s", c.gateway, v)
			}
		}
	}
}
