package pki

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

func TestSecretName(t *testing.T) {
	long := strings.Repeat("a", 63) + "/" + strings.Repeat("b.c-", 60) + "d"
	for account, want := range map[string]string{
		"shop/web":       "sa.shop.web",
		"a-b/c":          "sa.a-b.c",
		"a/b-c":          "sa.a.b-c",
		"shop/web.v2":    "sa.shop.web.v2",
		long:             "",
		long[:250] + "e": "",
	} {
		got := SecretName(account)
		if want != "" && got != want {
			t.Errorf("%s is called %s", account, got)
		}
		if problems := validation.IsDNS1123Subdomain(got); len(problems) > 0 || len(got) > maxName {
			t.Errorf("%s is called %s: %v", account, got, problems)
		}
	}
	if SecretName(long) == SecretName(long[:250]+"e") {
		t.Error("two long names are the same")
	}
}

func TestSettings(t *testing.T) {
	s := SettingsOf(nil)
	if s.TrustDomain != "cluster.local" || s.Lifetime != 24*time.Hour || s.RenewBefore != 8*time.Hour || s.ConnectionAge != time.Hour ||
		s.Issuer.String() != "Issuer/weft-mesh-ca-1" || s.Issuance != v1alpha1.IssuanceCertificates ||
		s.CertManager != "system:serviceaccount:cert-manager:cert-manager" {
		t.Errorf("by default %+v", s)
	}
	s = SettingsOf(&v1alpha1.Mesh{Spec: v1alpha1.MeshSpec{TrustDomain: "example.org", Identity: v1alpha1.Identity{
		IssuerRef:   &v1alpha1.IssuerReference{Name: "pca", Kind: "AWSPCAClusterIssuer", Group: "awspca.cert-manager.io"},
		Lifetime:    &metav1.Duration{Duration: 6 * time.Hour},
		CertManager: &v1alpha1.ServiceAccountReference{Namespace: "infra"},
	}}})
	if s.Issuer.String() != "AWSPCAClusterIssuer.awspca.cert-manager.io/pca" || s.Authority != 0 || s.RenewBefore != 2*time.Hour ||
		s.CertManager != "system:serviceaccount:infra:cert-manager" {
		t.Errorf("read %+v", s)
	}
	c := s.Certificate("shop/web", s.Issuer)
	if len(c.Spec.URIs) != 1 || c.Spec.URIs[0] != "spiffe://example.org/ns/shop/sa/web" || len(c.Spec.DNSNames) > 0 || c.Spec.CommonName != "" ||
		c.Spec.PrivateKey.RotationPolicy != "Always" || c.Spec.IssuerRef.Group != "awspca.cert-manager.io" || c.Spec.SecretName != "sa.shop.web" {
		t.Errorf("wanted %+v", c.Spec)
	}
}
