package stories

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

// secureSet opens a port that the Gateway has not.
const secureSet = `
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata:
  name: secure
spec:
  parentRef: {name: front}
  listeners:
  - {name: https, port: 443, protocol: HTTPS, hostname: shop.test, tls: {certificateRefs: [{name: shop-certificate}]}}
`

// badSet wants what others have, and has no certificate.
const badSet = `
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata:
  name: z-bad
spec:
  parentRef: {name: front}
  listeners:
  - {name: taken, port: 443, protocol: TLS, hostname: shop.test, tls: {mode: Passthrough}}
  - {name: other, port: 443, protocol: HTTP}
  - {name: broken, port: 443, protocol: HTTPS, hostname: broken.test, tls: {certificateRefs: [{name: nowhere}]}}
`

// TestListenerSets: a ListenerSet opens a port of a Gateway that serves, and closes it again; a bad one
// beside it harms only itself. No request on the Gateway's own port fails.
func TestListenerSets(t *testing.T) {
	stage.Parallel(t)
	s := stage.New(t, "sets")
	ca := stage.NewAuthority(t)
	leaf := ca.Leaf("shop.test")
	secret := &corev1.Secret{Type: corev1.SecretTypeTLS, Data: map[string][]byte{corev1.TLSCertKey: leaf.Certificate, corev1.TLSPrivateKeyKey: leaf.Key}}
	secret.Namespace, secret.Name = s.Namespace, "shop-certificate"
	if err := s.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	backend(t, s, "shop", "drain", "", 1)
	s.Apply(manifest(t, "sets.yaml"))
	s.Rollout("shop")
	gateway := s.Gateway("front")
	gateway.Answers(time.Minute, "shop.test", "/api", 200)
	l := load.Start(load.Target{Address: gateway.At(80), Host: "shop.test"}, 100)

	s.Apply(secureSet)
	answers := func(host string, status int) {
		t.Helper()
		s.Until(time.Minute, fmt.Sprintf("%s answers %d on port 443", host, status), func(ctx context.Context) error {
			a, err := gateway.GetTLS(ctx, host, "/api", ca.Client("shop.test"))
			if err == nil && a.Status != status {
				err = fmt.Errorf("it answers %d", a.Status)
			}
			return err
		})
	}
	answers("shop.test", 200)
	answers("other.test", 421)
	setAccepted(s, "secure", true)

	s.Apply(badSet)
	setAccepted(s, "z-bad", false)
	answers("shop.test", 200)

	s.Remove(badSet)
	s.Remove(secureSet)
	s.Until(time.Minute, "port 443 is closed", func(ctx context.Context) error {
		if a, err := gateway.GetTLS(ctx, "shop.test", "/api", ca.Client("shop.test")); err == nil {
			return fmt.Errorf("it answers %d", a.Status)
		}
		return nil
	})
	results := l.Stop()
	t.Logf("the Gateway's own port, at 100 requests per second\n%s", load.Print(load.Table(results, nil)))
	for _, r := range load.Failures(results, nil) {
		t.Errorf("%s %s: %s", r.Method, r.ID, r.Failed)
	}
}

// setAccepted waits until a ListenerSet is accepted, or is refused as a whole.
func setAccepted(s *stage.Scene, name string, wanted bool) {
	s.Until(time.Minute, fmt.Sprintf("ListenerSet %s is accepted: %t", name, wanted), func(ctx context.Context) error {
		var set gwv1.ListenerSet
		if err := s.Get(ctx, s.Key(name), &set); err != nil {
			return err
		}
		c := meta.FindStatusCondition(set.Status.Conditions, string(gwv1.ListenerSetConditionAccepted))
		if c == nil || c.ObservedGeneration != set.Generation || (c.Status == "True") != wanted || !wanted && c.Reason != string(gwv1.ListenerSetReasonListenersNotValid) {
			return fmt.Errorf("conditions: %+v", set.Status.Conditions)
		}
		return nil
	})
}
