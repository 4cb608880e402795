package stories

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// TestCertificatesFromAnIssuer has Weft obtain a listener's certificate from a cert-manager issuer and
// rotates it under load.
func TestCertificatesFromAnIssuer(t *testing.T) {
	stage.Parallel(t)
	s := stage.New(t, "issuer")
	backend(t, s, "shop", "drain", "", 1)
	s.Apply(manifest(t, "issuer.yaml", "$SECRET", "shop-tls", "$ANNOTATIONS", `{mesh.weft.dev/issuer: authority}`))
	s.Rollout("shop")
	gateway := s.Gateway("front")
	certificate := issued(t, s, "shop-tls")
	if owner := metav1.GetControllerOf(&certificate); owner == nil || owner.Name != "front" {
		t.Errorf("the Certificate is not owned by the Gateway: %v", owner)
	}
	secure := trust(t, s, "shop-tls")
	first := serial(t, s, gateway, secure, "")
	l := load.Start(load.Target{Address: gateway.At(443), Host: "shop.test", TLS: secure}, 50)
	renew(t, s, certificate)
	second := serial(t, s, gateway, secure, first)
	s.Until(time.Minute, "requests pass", func(context.Context) error {
		if l.Sent() < 200 {
			return fmt.Errorf("%d have passed", l.Sent())
		}
		return nil
	})
	results := l.Stop()
	for _, r := range load.Failures(results, nil) {
		t.Errorf("%s %s: %s", r.Method, r.ID, r.Failed)
	}
	t.Logf("%d requests over TLS while certificate %s was replaced by %s", len(results), first, second)
}

// TestTwoWishesForCertificates annotates one Gateway for Weft and for cert-manager itself: only
// cert-manager acts, and the Gateway says so.
func TestTwoWishesForCertificates(t *testing.T) {
	stage.Parallel(t)
	s := stage.New(t, "wishes")
	backend(t, s, "shop", "drain", "", 1)
	s.Apply(manifest(t, "issuer.yaml", "$SECRET", "both-tls",
		"$ANNOTATIONS", `{mesh.weft.dev/issuer: authority, cert-manager.io/issuer: authority}`))
	s.GatewayShows("front", stage.Condition{Type: "mesh.weft.dev/CertificatesRequested", Status: metav1.ConditionFalse,
		Reason: "ConflictingAnnotations", Message: []string{"mesh.weft.dev/issuer", "cert-manager.io/issuer"}})
	certificate := issued(t, s, "both-tls")
	for _, entry := range certificate.ManagedFields {
		if entry.Manager == "weft" {
			t.Errorf("Weft wrote the Certificate too: %v", certificate.ManagedFields)
		}
	}
	serial(t, s, s.Gateway("front"), trust(t, s, "both-tls"), "")
}

// issued waits until a Certificate is ready, and no other is being made for it.
func issued(t *testing.T, s *stage.Scene, name string) (certificate cmv1.Certificate) {
	t.Helper()
	s.Until(2*time.Minute, "Certificate "+name+" is ready", func(ctx context.Context) error {
		if err := s.Get(ctx, s.Key(name), &certificate); err != nil {
			return err
		}
		is := map[cmv1.CertificateConditionType]cmmeta.ConditionStatus{}
		for _, c := range certificate.Status.Conditions {
			is[c.Type] = c.Status
		}
		if is[cmv1.CertificateConditionReady] != cmmeta.ConditionTrue || is[cmv1.CertificateConditionIssuing] == cmmeta.ConditionTrue {
			return fmt.Errorf("conditions: %v", certificate.Status.Conditions)
		}
		return nil
	})
	return certificate
}

// trust is a TLS client that trusts the authority of a Secret.
func trust(t *testing.T, s *stage.Scene, name string) *tls.Config {
	t.Helper()
	var secret corev1.Secret
	if err := s.Get(t.Context(), s.Key(name), &secret); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(secret.Data["ca.crt"]) {
		t.Fatalf("Secret %s has no ca.crt", name)
	}
	return &tls.Config{RootCAs: pool, ServerName: "shop.test", MinVersion: tls.VersionTLS12}
}

// serial waits until HTTPS serves with a certificate other than not, and returns its serial number.
func serial(t *testing.T, s *stage.Scene, gateway *stage.Gateway, secure *tls.Config, not string) (now string) {
	t.Helper()
	s.Until(time.Minute, "HTTPS serves with a certificate other than "+not, func(ctx context.Context) error {
		a, err := gateway.GetTLS(ctx, "shop.test", "/api", secure)
		if err != nil {
			return err
		}
		if a.Status != 200 || a.Serial == not {
			return fmt.Errorf("it answers %d with certificate %s", a.Status, a.Serial)
		}
		now = a.Serial
		return nil
	})
	return now
}

// renew asks cert-manager for a new certificate, as `cmctl renew` does.
func renew(t *testing.T, s *stage.Scene, certificate cmv1.Certificate) {
	t.Helper()
	before := certificate.DeepCopy()
	certificate.Status.Conditions = append(certificate.Status.Conditions, cmv1.CertificateCondition{
		Type: cmv1.CertificateConditionIssuing, Status: cmmeta.ConditionTrue,
		Reason: "ManuallyTriggered", Message: "Certificate re-issuance manually triggered",
		LastTransitionTime: &metav1.Time{Time: time.Now()}, ObservedGeneration: certificate.Generation,
	})
	err := s.Status().Patch(t.Context(), &certificate, client.MergeFrom(before))
	if err != nil {
		t.Fatal(errors.Join(errors.New("renew the certificate"), err))
	}
}
