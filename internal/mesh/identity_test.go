package mesh

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	certv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// start is when everything in these tests was signed.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newRoot makes an authority that signed itself, as it would be in a Secret.
func newRoot(t *testing.T) pki.Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: start, NotAfter: start.Add(1000 * time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return pki.Authority{Issuer: pki.OwnIssuer(1), Root: pki.Root(text), Chain: text, Cert: c, Key: key}
}

func leafBy(t *testing.T, by pki.Authority, account string) cluster.Leaf {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := pki.SettingsOf(nil).Sign(by, account, &key.PublicKey, start.Add(time.Hour), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cluster.Leaf{Chain: chain, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), Issuer: by.Issuer}
}

// tenant is a mesh whose only pod is shop/web's, and the last that was said of that identity.
type tenant struct {
	*Mesh
	*testing.T
	last Identity
}

func newTenant(t *testing.T) *tenant {
	tn := &tenant{Mesh: New(cluster.NewTables()), T: t}
	incr.Keep(Memo(tn.Mesh, "test", tn.Identity), func(_ string, id Identity, has bool) {
		if tn.last = id; !has {
			tn.last = Identity{}
		}
	}, tn.PodAccounts)
	return tn
}

func (tn *tenant) commit(change func()) Identity {
	tn.Graph.Commit(change)
	return tn.last
}

func (tn *tenant) trusts(s pki.State) {
	cm := s.ConfigMap()
	cm.ResourceVersion = string(rune('a' + s.Serial))
	tn.ConfigMaps.Set("weft-system/"+pki.StateName, cm)
}

func (tn *tenant) holds(l cluster.Leaf, version string) {
	tn.Secrets.Set("weft-system/sa.shop.web", &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "weft-system", Name: "sa.shop.web", ResourceVersion: version, Annotations: map[string]string{
			certv1.IssuerKindAnnotationKey: l.Issuer.Kind, certv1.IssuerNameAnnotationKey: l.Issuer.Name,
		}},
		Data: map[string][]byte{"tls.crt": l.Chain, "tls.key": l.Key},
	})
}

func steady(by pki.Authority) pki.State {
	return pki.State{Serial: 1, Phase: pki.Steady, Issuer: by.Issuer, Target: by.Issuer, Keep: []pki.Root{by.Root}, Trusted: []pki.Root{by.Root}}
}

func (tn *tenant) want(id Identity, problem string, current bool) {
	tn.Helper()
	if (id.Problem == "") != (problem == "") || !strings.Contains(id.Problem, problem) {
		tn.Errorf("the problem is %q, not %q", id.Problem, problem)
	}
	if id.Current != current {
		tn.Errorf("current: %t", id.Current)
	}
	secret, ok := tn.OwnSecret(nil, "shop/web")
	if ok != (problem == "") || ok && (len(secret.Chain) == 0 || secret.Name != IdentitySecret) || !ok && len(secret.Chain) > 0 {
		tn.Errorf("served: %t, as %q", ok, secret.Name)
	}
}

func TestIdentity(t *testing.T) {
	tn, root, other := newTenant(t), newRoot(t), newRoot(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-0"}}
	pod.Spec.ServiceAccountName = "web"
	if id := tn.commit(func() { tn.Pods.Set("shop/web-0", pod) }); id.Wanted {
		t.Error("a pod outside the mesh has an identity")
	}
	pod = pod.DeepCopy()
	pod.UID, pod.Spec.InitContainers = "2", []corev1.Container{{Name: sidecar.ProxyContainer}}
	id := tn.commit(func() { tn.Pods.Set("shop/web-0", pod) })
	if tn.want(id, "Certificate weft-system/sa.shop.web is not there yet", false); id.Certificate != nil {
		t.Error("a Certificate is wanted of no issuer")
	}
	id = tn.commit(func() { tn.trusts(steady(root)) })
	if id.Certificate == nil || id.Certificate.Spec.IssuerRef.Name != root.Issuer.Name || id.Serial != 1 {
		t.Errorf("wanted: %+v", id.Certificate)
	}
	cert := id.Certificate.DeepCopy()
	cert.Status.Conditions = []certv1.CertificateCondition{{Type: certv1.CertificateConditionIssuing, Message: "Vault is sealed"}}
	tn.want(tn.commit(func() { tn.Tables.Certificates.Set("weft-system/sa.shop.web", cert) }), "waits for Issuer/weft-mesh-ca-1: Vault is sealed", false)
	tn.want(tn.commit(func() { tn.holds(leafBy(t, root, "shop/api"), "1") }), "it is that of spiffe://cluster.local/ns/shop/sa/api", false)
	tn.want(tn.commit(func() { tn.holds(leafBy(t, other, "shop/web"), "2") }), "no root that the proxies trust", false)
	tn.want(tn.commit(func() { tn.holds(leafBy(t, root, "shop/web"), "3") }), "", true)
	if string(tn.Roots(nil)) != string(root.Root) {
		t.Error("the roots are others")
	}

	change := pki.State{Serial: 2, Phase: pki.Distributing, Issuer: root.Issuer, Target: pki.OwnIssuer(2), Keep: []pki.Root{other.Root}, Trusted: []pki.Root{root.Root}, Incoming: []pki.Root{other.Root}}
	tn.want(tn.commit(func() { tn.trusts(change) }), "", false)
	if string(tn.Roots(nil)) != string(root.Root+other.Root) {
		t.Error("the incoming root is not told")
	}
	other.Issuer = pki.OwnIssuer(2)
	tn.want(tn.commit(func() { tn.holds(leafBy(t, other, "shop/web"), "4") }), "no root that the proxies trust", false)
	change.Serial, change.Phase, change.Issuer, change.Trusted, change.Incoming = 3, pki.Switching, other.Issuer, []pki.Root{root.Root, other.Root}, nil
	tn.want(tn.commit(func() { tn.trusts(change) }), "", true)

	if id := tn.commit(func() { tn.Pods.Delete("shop/web-0") }); id.Wanted {
		t.Error("the last pod is gone, and its identity is not")
	}
}

// TestSignedIdentity: where the operator signs, what it signed is served; before that, a Certificate's.
func TestSignedIdentity(t *testing.T) {
	tn, root := newTenant(t), newRoot(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-0"}}
	pod.Spec.ServiceAccountName, pod.Spec.InitContainers = "web", []corev1.Container{{Name: sidecar.ProxyContainer}}
	id := tn.commit(func() {
		tn.Pods.Set("shop/web-0", pod)
		tn.trusts(steady(root))
		tn.Meshes.Set("default", &v1alpha1.Mesh{Spec: v1alpha1.MeshSpec{Identity: v1alpha1.Identity{Issuance: v1alpha1.IssuanceIntermediate}}})
	})
	tn.want(id, "Certificate weft-system/weft-mesh-intermediate is not there yet", false)
	id = tn.commit(func() {
		tn.Secrets.Set("weft-system/weft-mesh-intermediate", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "weft-system", Name: "weft-mesh-intermediate"}})
	})
	tn.want(id, "Secret weft-system/weft-mesh-intermediate: it holds no certificate", false)
	id = tn.commit(func() { tn.holds(leafBy(t, root, "shop/web"), "1") })
	if tn.want(id, "", true); id.Certificate != nil || id.Signed {
		t.Errorf("%+v", id)
	}
	id = tn.commit(func() { tn.Leaves.Set("shop/web", leafBy(t, root, "shop/web")) })
	if tn.want(id, "", true); id.Certificate != nil || !id.Signed {
		t.Errorf("%+v", id)
	}
}
