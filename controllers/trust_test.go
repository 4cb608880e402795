package controllers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/pki"
)

// as makes requests in the name of a ServiceAccount ("namespace:name") that may do everything, so that
// what is refused is refused by a policy.
func as(config *rest.Config, account string) *rest.Config {
	config = rest.CopyConfig(config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + account, Groups: []string{"system:masters"}}
	return config
}

// issuers sign what Certificates in weft-system ask for, each with a root of its own.
type issuers struct {
	*installation
	roots  map[string]*authority // by name of the issuer
	silent map[string]bool       // those that do not answer
	extra  map[string]string     // one more URI name in the certificates of that name
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (is *issuers) root(name string) *authority {
	if is.roots[name] == nil {
		is.roots[name] = &authority{key: newKey(is.T)}
		is.roots[name].cert = is.sign(is.roots[name], &is.roots[name].key.PublicKey, &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
		})
	}
	return is.roots[name]
}

func (is *issuers) sign(by *authority, key *ecdsa.PublicKey, c *x509.Certificate) *x509.Certificate {
	is.Helper()
	c.SerialNumber, c.BasicConstraintsValid = big.NewInt(time.Now().UnixNano()), true
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	parent := by.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key, by.key)
	if err != nil {
		is.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		is.Fatal(err)
	}
	return made
}

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// answer fills the Secret of every Certificate in weft-system that waits for one.
func (is *issuers) answer(ctx context.Context) {
	is.Helper()
	var certs cmv1.CertificateList
	if err := is.List(ctx, &certs, client.InNamespace(v1alpha1.SystemNamespace)); err != nil {
		is.Fatal(err)
	}
	for i := range certs.Items {
		cert := &certs.Items[i]
		if is.silent[cert.Spec.IssuerRef.Name] {
			continue
		}
		var secret corev1.Secret
		err := is.Get(ctx, client.ObjectKey{Namespace: cert.Namespace, Name: cert.Spec.SecretName}, &secret)
		if err == nil && secret.Annotations[cmv1.IssuerNameAnnotationKey] == cert.Spec.IssuerRef.Name {
			continue
		}
		want := is.issued(cert)
		if apierrors.IsNotFound(err) {
			err = is.Create(ctx, want)
		} else if err == nil {
			want.ResourceVersion = secret.ResourceVersion
			err = is.Update(ctx, want)
		}
		if err != nil {
			is.Fatal(err)
		}
	}
}

func (is *issuers) issued(cert *cmv1.Certificate) *corev1.Secret {
	by, key := is.root(cert.Spec.IssuerRef.Name), newKey(is.T)
	c := &x509.Certificate{IsCA: cert.Spec.IsCA, Subject: pkix.Name{CommonName: cert.Spec.CommonName}}
	if c.IsCA {
		c.KeyUsage = x509.KeyUsageCertSign
	}
	for _, name := range append(cert.Spec.URIs, is.extra[cert.Name]) {
		if u, err := url.Parse(name); err == nil && name != "" {
			c.URIs = append(c.URIs, u)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		is.Fatal(err)
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: cert.Namespace, Name: cert.Spec.SecretName, Annotations: map[string]string{
			cmv1.IssuerNameAnnotationKey: cert.Spec.IssuerRef.Name, cmv1.IssuerKindAnnotationKey: cert.Spec.IssuerRef.Kind,
			cmv1.IssuerGroupAnnotationKey: cert.Spec.IssuerRef.Group,
		}},
		Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{
			"tls.crt": certPEM(is.sign(by, &key.PublicKey, c)), "ca.crt": certPEM(by.cert),
			"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		},
	}
	if cert.Spec.SecretTemplate != nil {
		s.Labels = maps.Clone(cert.Spec.SecretTemplate.Labels)
	}
	return s
}

// await waits, while the issuers answer, for what the Mesh says of identity.
func (is *issuers) await(what string, holds func(s *v1alpha1.IdentityStatus) bool) *v1alpha1.IdentityStatus {
	is.Helper()
	var m v1alpha1.Mesh
	eventually(is.T, what, func(ctx context.Context) bool {
		is.answer(ctx)
		err := is.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, &m)
		return err == nil && m.Status.Identity != nil && holds(m.Status.Identity)
	}, func() string { return fmt.Sprintf("%+v", m.Status.Identity) })
	return m.Status.Identity
}

func (is *issuers) change(edit func(*v1alpha1.Identity)) {
	is.Helper()
	var m v1alpha1.Mesh
	if err := is.Get(is.Context(), client.ObjectKey{Name: v1alpha1.MeshName}, &m); err != nil {
		is.Fatal(err)
	}
	before := m.DeepCopy()
	edit(&m.Spec.Identity)
	if err := is.Patch(is.Context(), &m, client.MergeFrom(before)); err != nil {
		is.Fatal(err)
	}
}

// refuses expects the API server to say this of an edit of the Mesh.
func (is *issuers) refuses(says string, edit func(*v1alpha1.Mesh)) {
	is.Helper()
	var m v1alpha1.Mesh
	if err := is.Get(is.Context(), client.ObjectKey{Name: v1alpha1.MeshName}, &m); err != nil {
		is.Fatal(err)
	}
	before := m.DeepCopy()
	edit(&m)
	if err := is.Patch(is.Context(), &m, client.MergeFrom(before)); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), says) {
		is.Errorf("the edit that should be refused, as %q: %v", says, err)
	}
}

// restores expects the state of the roots to come back as it was.
func (is *issuers) restores(name string) {
	is.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: system(name)}
	is.awaitObject(cm)
	if err := is.Delete(is.Context(), cm.DeepCopy()); err != nil {
		is.Fatal(err)
	}
	again := &corev1.ConfigMap{ObjectMeta: system(name)}
	is.awaitObject(again)
	if again.UID == cm.UID || !maps.Equal(again.Data, cm.Data) {
		is.Errorf("it came back as %v", again.Data)
	}
}

func (is *issuers) awaitGone(o client.Object) {
	is.Helper()
	eventually(is.T, fmt.Sprintf("the end of %T %s", o, o.GetName()), func(ctx context.Context) bool {
		return apierrors.IsNotFound(is.Get(ctx, client.ObjectKeyFromObject(o), o))
	}, func() string { return "it is still there" })
}

func newIssuers(t *testing.T) *issuers {
	is := &issuers{installation: newInstallation(t), roots: map[string]*authority{}, silent: map[string]bool{}, extra: map[string]string{}}
	installGatewayAPI(t, is.config)
	installCertManager(t, is.config)
	create(t, is.Client,
		&v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	is.operate()
	is.awaitClass()
	return is
}

func system(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: name}
}

// TestIdentities follows the identity of a Gateway's proxies: from Weft's own authority, to the next,
// to an issuer that does not answer at first, with a bad certificate in between.
func TestIdentities(t *testing.T) {
	is := newIssuers(t)
	is.silent["weft-mesh-ca-1"] = true
	is.await("an issuer that is waited for", func(s *v1alpha1.IdentityStatus) bool {
		return s.Phase == "Waiting" && len(s.Problems) == 1 && strings.Contains(s.Problems[0].Message, "Issuer/weft-mesh-ca-1 has signed nothing yet")
	})
	edge := gatewayNamed("edge", nil)
	edge.Namespace, edge.Spec.GatewayClassName = "shop", ClassName
	create(t, is.Client, edge)

	is.silent = map[string]bool{}
	first := is.await("a first certificate", steady("Issuer/weft-mesh-ca-1"))
	leaf := &cmv1.Certificate{ObjectMeta: system("sa.shop.edge-weft")}
	is.awaitObject(leaf)
	if !slices.Equal(leaf.Spec.URIs, []string{"spiffe://cluster.local/ns/shop/sa/edge-weft"}) {
		t.Errorf("it is called %v", leaf.Spec.URIs)
	}

	is.restores(pki.StateName)
	is.change(func(i *v1alpha1.Identity) { i.AuthorityRevision = 2 })
	second := is.await("another authority", steady("Issuer/weft-mesh-ca-2"))
	if slices.Equal(first.RootsTrusted, second.RootsTrusted) {
		t.Errorf("the root is still %v", second.RootsTrusted)
	}
	is.awaitGone(&cmv1.Issuer{ObjectMeta: system("weft-mesh-ca-1")})
	is.awaitGone(&cmv1.Certificate{ObjectMeta: system("weft-mesh-ca-1")})

	is.silent["vault"] = true
	is.extra[leaf.Name] = "spiffe://cluster.local/ns/shop/sa/admin"
	is.change(func(i *v1alpha1.Identity) {
		i.AuthorityRevision, i.IssuerRef = 0, &v1alpha1.IssuerReference{Name: "vault", Kind: "ClusterIssuer"}
	})
	is.await("an issuer that does not answer", func(s *v1alpha1.IdentityStatus) bool {
		return s.Phase == "Steady" && s.Issuer == "Issuer/weft-mesh-ca-2" && len(s.Problems) == 1 && strings.Contains(s.Problems[0].Message, "ClusterIssuer/vault has signed nothing")
	})
	is.silent["vault"] = false
	is.await("a certificate with two names", func(s *v1alpha1.IdentityStatus) bool {
		return s.Phase == "Switching" && slices.Equal(s.WaitingFor, []string{"shop/edge-weft"}) && len(s.RootsTrusted) == 2 &&
			len(s.Problems) == 1 && strings.Contains(s.Problems[0].Message, "Secret weft-system/sa.shop.edge-weft: it has 2 URI names")
	})
	is.extra = map[string]string{}
	if err := is.Delete(t.Context(), &corev1.Secret{ObjectMeta: system(leaf.Name)}); err != nil {
		t.Fatal(err)
	}
	third := is.await("Vault", steady("ClusterIssuer/vault"))

	delete(is.roots, "vault")
	if err := is.Delete(t.Context(), &corev1.Secret{ObjectMeta: system(leaf.Name)}); err != nil {
		t.Fatal(err)
	}
	is.await("another root of the same issuer", func(s *v1alpha1.IdentityStatus) bool {
		return steady("ClusterIssuer/vault")(s) && !slices.Equal(s.RootsTrusted, third.RootsTrusted)
	})
}

// TestIdentitySettings: what cannot be is refused when it is written.
func TestIdentitySettings(t *testing.T) {
	is := newIssuers(t)
	is.refuses("cannot change", func(m *v1alpha1.Mesh) { m.Spec.TrustDomain = "example.org" })
	is.refuses("shorter than lifetime", func(m *v1alpha1.Mesh) {
		m.Spec.Identity.RenewBefore = &metav1.Duration{Duration: 24 * time.Hour}
	})
	is.refuses("from 1h to 8760h", func(m *v1alpha1.Mesh) {
		m.Spec.Identity.Lifetime = &metav1.Duration{Duration: time.Minute}
	})
}

// TestRestart: an operator that starts in the middle of a change of root goes on with it, and trusts
// meanwhile what was trusted.
func TestRestart(t *testing.T) {
	is := &issuers{installation: newInstallation(t), roots: map[string]*authority{}, silent: map[string]bool{}, extra: map[string]string{}}
	installGatewayAPI(t, is.config)
	installCertManager(t, is.config)
	create(t, is.Client, &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}}, gatewayNamed("edge", nil))
	until := func(what string, holds func(*v1alpha1.IdentityStatus) bool, first func()) {
		t.Run(what, func(t *testing.T) {
			i := *is.installation
			part := *is
			part.installation, i.T = &i, t
			i.operate()
			first()
			part.await(what, holds)
		})
	}
	until("steady", steady("Issuer/weft-mesh-ca-1"), func() {})
	const leaf = "sa.default.edge-weft"
	until("switching", func(s *v1alpha1.IdentityStatus) bool { return s.Phase == "Switching" }, func() {
		is.extra[leaf] = "spiffe://cluster.local/ns/default/sa/admin"
		is.change(func(i *v1alpha1.Identity) { i.AuthorityRevision = 2 })
	})
	until("still switching", func(s *v1alpha1.IdentityStatus) bool {
		return s.Phase == "Switching" && len(s.RootsTrusted) == 2 && slices.Equal(s.WaitingFor, []string{"default/edge-weft"})
	}, func() {
		var m v1alpha1.Mesh
		if err := is.Get(t.Context(), client.ObjectKey{Name: v1alpha1.MeshName}, &m); err != nil {
			t.Fatal(err)
		}
		m.Status.Identity = nil // what the operator before said
		if err := is.Status().Update(t.Context(), &m); err != nil {
			t.Fatal(err)
		}
	})
	until("steady again", steady("Issuer/weft-mesh-ca-2"), func() {
		delete(is.extra, leaf)
		if err := is.Delete(t.Context(), &corev1.Secret{ObjectMeta: system(leaf)}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestIntermediate: a ServiceAccount that comes while the operator signs in memory costs no Certificate,
// and gets one when that is over.
func TestIntermediate(t *testing.T) {
	is := newIssuers(t)
	is.await("Weft's authority", func(s *v1alpha1.IdentityStatus) bool { return s.Phase == "Steady" })
	is.change(func(i *v1alpha1.Identity) { i.Issuance = v1alpha1.IssuanceIntermediate })
	create(t, is.Client, gatewayNamed("edge", nil))
	is.await("a certificate signed in memory", steady("Issuer/weft-mesh-ca-1"))
	cert := &cmv1.Certificate{ObjectMeta: system("sa.default.edge-weft")}
	if err := is.Get(t.Context(), client.ObjectKeyFromObject(cert), cert); !apierrors.IsNotFound(err) {
		t.Errorf("there is a Certificate for it: %v", err)
	}
	is.change(func(i *v1alpha1.Identity) { i.AuthorityRevision = 2 })
	is.await("another authority", steady("Issuer/weft-mesh-ca-2"))

	is.change(func(i *v1alpha1.Identity) { i.Issuance = "" })
	is.awaitObject(cert)
	eventually(t, "the end of the intermediate", func(ctx context.Context) bool {
		is.answer(ctx)
		err := is.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: pki.Intermediate}, &cmv1.Certificate{})
		return apierrors.IsNotFound(err)
	}, func() string { return "it is still there" })
	is.await("the same issuer", steady("Issuer/weft-mesh-ca-2"))
}

// steady says that every identity is by this issuer, and trusts its root alone.
func steady(issuer string) func(*v1alpha1.IdentityStatus) bool {
	return func(s *v1alpha1.IdentityStatus) bool {
		return s.Phase == "Steady" && s.Issuer == issuer && s.Accounts == 1 && len(s.Problems) == 0 && len(s.RootsTrusted) == 1
	}
}
