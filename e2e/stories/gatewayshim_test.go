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
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// certManager is where cert-manager looks for the Secrets of ClusterIssuers.
const certManager = "cert-manager"

// TestGatewayShim leaves the certificates of a Gateway and of a ListenerSet to cert-manager, by its own
// annotation. The listeners wait for Secrets that are not there yet, serve once they are, with what the
// issuer signed, and go on while both are renewed. Weft asks for no certificate itself.
func TestGatewayShim(t *testing.T) {
	stage.Parallel(t)
	s := stage.New(t, "shim")
	issuer := s.Namespace
	backend(t, s, "shop", "drain", "", 1)
	s.Apply(manifest(t, "gatewayshim.yaml", "$ISSUER", issuer))
	missing := stage.Condition{Type: string(gwv1.ListenerConditionResolvedRefs), Status: metav1.ConditionFalse,
		Reason: string(gwv1.ListenerReasonInvalidCertificateRef), Message: []string{"shop-tls"}}
	s.ListenerShows("front", "https", missing, stage.Condition{Type: string(gwv1.ListenerConditionProgrammed), Status: metav1.ConditionFalse})

	clusterIssuer(t, s, issuer)
	own, team := issued(t, s, "shop-tls"), issued(t, s, "team-tls")
	ownedBy(t, own, "Gateway", "front")
	ownedBy(t, team, "ListenerSet", "team")
	s.Rollout("shop")
	s.ListenerShows("front", "https", stage.Condition{Type: string(gwv1.ListenerConditionProgrammed), Status: metav1.ConditionTrue})
	setIsProgrammed(t, s, "team")
	gateway, roots := s.Gateway("front"), authorityOf(t, s, issuer)
	shopTLS := &tls.Config{RootCAs: roots, ServerName: "shop.test", MinVersion: tls.VersionTLS12}
	teamTLS := &tls.Config{RootCAs: roots, ServerName: "team.test", MinVersion: tls.VersionTLS12}
	first, teamFirst := shownTo(t, s, gateway, shopTLS, ""), shownTo(t, s, gateway, teamTLS, "")

	loads := map[string]*load.Load{}
	for _, secure := range []*tls.Config{shopTLS, teamTLS} {
		loads[secure.ServerName] = load.Start(load.Target{Address: gateway.At(443), Host: secure.ServerName, TLS: secure}, 50)
	}
	for range stage.Size(1, 20) {
		renew(t, s, own)
		renew(t, s, team)
		first, teamFirst = shownTo(t, s, gateway, shopTLS, first), shownTo(t, s, gateway, teamTLS, teamFirst)
		own, team = issued(t, s, "shop-tls"), issued(t, s, "team-tls")
	}
	for host, l := range loads {
		sent(s, l, 200)
		results := l.Stop()
		for _, r := range load.Failures(results, nil) {
			t.Errorf("%s: %s %s: %s", host, r.Method, r.ID, r.Failed)
		}
		t.Logf("%s: %d requests while its certificate was renewed", host, len(results))
	}
}

// clusterIssuer makes an authority that goes with the test.
func clusterIssuer(t *testing.T, s *stage.Scene, name string) {
	t.Helper()
	text := manifest(t, "clusterissuer.yaml", "$ISSUER", name)
	t.Cleanup(func() {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: certManager, Name: name}}
		err := s.Stage.Remove(context.Background(), "", text)
		if err := errors.Join(err, client.IgnoreNotFound(s.Delete(context.Background(), secret))); err != nil {
			t.Errorf("remove ClusterIssuer %s: %v", name, err)
		}
	})
	s.Apply(text)
}

// authorityOf is whom a client trusts who trusts a ClusterIssuer: its own Secret says so, not the Gateway's.
func authorityOf(t *testing.T, s *stage.Scene, issuer string) *x509.CertPool {
	t.Helper()
	var secret corev1.Secret
	if err := s.Get(t.Context(), client.ObjectKey{Namespace: certManager, Name: issuer}, &secret); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(secret.Data[corev1.TLSCertKey]) {
		t.Fatalf("Secret %s/%s holds no certificate", certManager, issuer)
	}
	return pool
}

// ownedBy wants cert-manager to have made a Certificate for an object, and nobody of ours to have touched it.
func ownedBy(t *testing.T, certificate cmv1.Certificate, kind, name string) {
	t.Helper()
	if owner := metav1.GetControllerOf(&certificate); owner == nil || owner.Kind != kind || owner.Name != name {
		t.Errorf("Certificate %s is not of %s %s: %v", certificate.Name, kind, name, owner)
	}
	for _, entry := range certificate.ManagedFields {
		if entry.Manager == "weft" {
			t.Errorf("Weft wrote Certificate %s: %v", certificate.Name, certificate.ManagedFields)
		}
	}
}

// setIsProgrammed waits until a ListenerSet is.
func setIsProgrammed(t *testing.T, s *stage.Scene, name string) {
	t.Helper()
	s.Until(time.Minute, "ListenerSet "+name+" is programmed", func(ctx context.Context) error {
		var set gwv1.ListenerSet
		if err := s.Get(ctx, s.Key(name), &set); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(set.Status.Conditions, string(gwv1.GatewayConditionProgrammed)) {
			return fmt.Errorf("conditions: %v", set.Status.Conditions)
		}
		return nil
	})
}

// shownTo waits until a client is answered and shown a certificate other than not, and returns its number.
func shownTo(t *testing.T, s *stage.Scene, gateway *stage.Gateway, client *tls.Config, not string) (now string) {
	t.Helper()
	s.Until(time.Minute, client.ServerName+" is served with a certificate other than "+not, func(ctx context.Context) error {
		a, err := gateway.GetTLS(ctx, client.ServerName, "/api", client)
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

// sent waits until that many requests of a load have ended.
func sent(s *stage.Scene, l *load.Load, n int) {
	s.Until(time.Minute, fmt.Sprintf("%d requests pass", n), func(context.Context) error {
		if now := l.Sent(); now < n {
			return fmt.Errorf("%d have passed", now)
		}
		return nil
	})
}
