package controllers

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// TestPrometheusOfTheMesh: which Prometheus the API server lets a Mesh name, and what is made of it.
func TestPrometheusOfTheMesh(t *testing.T) {
	config := apiServer(t)
	installMesh(t, config)
	c := newClient(t, config)
	const plain, secure = "http://prometheus.monitoring.svc:9090", "https://metrics.test/tenant/a"
	create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}})
	for name, keys := range map[string]map[string]string{"both": {"token": "t", "ca.crt": "c"}, "other": {"password": "p"}} {
		create(t, c, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: name}, StringData: keys})
	}
	for _, m := range []struct{ url, secret, want string }{
		{plain, "", "{" + plain + "  }"},
		{secure, "", "{" + secure + "  }"},
		{"http://[fd00::1]:9090/", "", "{http://[fd00::1]:9090/  }"},
		{secure, "both", "{" + secure + " t c}"},
		{secure, "none", `spec.metrics.prometheus.secretRef of Mesh default names: secrets "none" not found`},
		{secure, "other", "has neither token nor ca.crt"},

		{plain, "both", "refused: spec.metrics.prometheus.secretRef: Invalid value"},
		{"prometheus:9090", "", "refused: spec.metrics.prometheus.url: Invalid value"},
		{"ftp://prometheus", "", "write http:// or https://"},
		{"http://", "", "write http:// or https://"},
		{"http://me:secret@prometheus", "", "write http:// or https://"},
		{"http://prometheus/?tenant=a", "", "write http:// or https://"},
		{"http://prometheus /", "", "write http:// or https://"},
	} {
		if got := prometheusOf(t, c, m.url, m.secret); !strings.Contains(got, m.want) {
			t.Errorf("%s with Secret %q is %s, want %s", m.url, m.secret, got, m.want)
		}
	}
	if _, err := (figures{c, c}).source(t.Context()); err == nil || !strings.Contains(err.Error(), "write its address into spec.metrics.prometheus.url") {
		t.Errorf("without a Mesh: %v", err)
	}
	if splits, err := (figures{c, c}).splits(t.Context(), "shop"); err != nil || splits != nil {
		t.Errorf("without SMI's kinds: %v %v", splits, err)
	}
}

// prometheusOf is what a Mesh that names this one comes to.
func prometheusOf(t *testing.T, c client.Client, url, secret string) string {
	t.Helper()
	m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}}
	m.Spec.Metrics.Prometheus = &v1alpha1.PrometheusReference{URL: url}
	if secret != "" {
		m.Spec.Metrics.Prometheus.SecretRef = &v1alpha1.SecretName{Name: secret}
	}
	if err := c.Create(t.Context(), m); err != nil {
		return "refused: " + strings.TrimPrefix(err.Error(), `Mesh.mesh.weft.dev "default" is invalid: `)
	}
	source, err := figures{c, c}.source(t.Context())
	if err := c.Delete(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(source)
}
