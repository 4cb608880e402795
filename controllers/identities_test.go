package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/pki"
)

// TestUnusedIdentities: a Certificate is marked when its last pod is gone, and not before the time of
// grace is over, whoever watches it by then, deleted and its key with it.
func TestUnusedIdentities(t *testing.T) {
	config := apiServer(t)
	installCertManager(t, config)
	c := newClient(t, config)
	create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}})
	want := pki.SettingsOf(nil).Certificate("shop/web", pki.OwnIssuer(1))
	used := mesh.Identity{Account: "shop/web", Wanted: true, Certificate: want}
	var known []mesh.Identity
	i := &Identities{Client: c, Known: func() []mesh.Identity { return known }, Changed: func() {}, Grace: time.Hour}
	live := want.DeepCopy()
	there := func(o client.Object) bool { return exists(t, c, o) }
	write := func(by *Identities, id mesh.Identity) {
		t.Helper()
		known = []mesh.Identity{id}
		if _, err := by.write(t.Context(), subject{}, id); err != nil {
			t.Fatal(err)
		}
	}
	sweep := func(by *Identities) {
		t.Helper()
		if err := by.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	marked := func() string { there(live); return live.Annotations[unusedSince] }

	write(i, used)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: want.Namespace, Name: want.Name, Labels: want.Spec.SecretTemplate.Labels}}
	create(t, c, secret)
	if sweep(i); marked() != "" {
		t.Fatal("it is in use, and marked")
	}
	write(i, mesh.Identity{Account: "shop/web"})
	if sweep(i); marked() == "" {
		t.Fatal("it is not marked")
	}
	if write(i, used); marked() != "" {
		t.Fatal("it is in use again, and still marked")
	}
	write(i, mesh.Identity{Account: "shop/web"})
	sweep(i)
	since := marked()
	next := &Identities{Client: c, Known: func() []mesh.Identity { return nil }, Grace: time.Hour} // after a restart
	if sweep(next); marked() != since || since == "" {
		t.Fatalf("marked %q, then %q", since, marked())
	}
	next.Grace = 1
	sweep(next)
	if there(live) {
		t.Fatal("it is still there")
	}
	sweep(next)
	if there(secret) {
		t.Fatal("its key is still there")
	}
}

func exists(t *testing.T, c client.Client, o client.Object) bool {
	t.Helper()
	err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return !apierrors.IsNotFound(err)
}

// TestIdentityWithoutIssuer: what is in use is kept while nobody knows by whom to have it signed, and
// let go where the operator signs itself.
func TestIdentityWithoutIssuer(t *testing.T) {
	for _, c := range []struct {
		id     mesh.Identity
		unused bool
	}{
		{mesh.Identity{Account: "shop/web", Wanted: true}, false},
		{mesh.Identity{Account: "shop/web", Wanted: true, Signed: true}, true},
		{mesh.Identity{Account: "shop/web", Wanted: true, Signed: true, Certificate: pki.AuthorityCertificate(1)}, false},
		{mesh.Identity{Account: "shop/web"}, true},
	} {
		if unused(c.id) != c.unused {
			t.Errorf("%+v", c.id)
		}
	}
}
