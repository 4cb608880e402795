package controllers

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/pki"
)

// Who asks.
const (
	byWeft    = "weft-system:weft-operator"
	byManager = "cert-manager:cert-manager"
	byOther   = "shop:web"
)

// Whom they ask.
var (
	ofMesh   = cmmeta.IssuerReference{Kind: "ClusterIssuer", Name: "mesh"}
	ofPublic = cmmeta.IssuerReference{Kind: "ClusterIssuer", Name: "public"}
)

// ask makes what asks an issuer for a certificate.
type ask func(t *testing.T) client.Object

func askCertificate(namespace string, ref cmmeta.IssuerReference) ask {
	return func(*testing.T) client.Object {
		return certificate(metav1.ObjectMeta{Namespace: namespace, GenerateName: "c-"}, cmv1.CertificateSpec{
			SecretName: "c", URIs: []string{"spiffe://cluster.local/ns/shop/sa/admin"}, IssuerRef: ref,
		})
	}
}

func askRequest(namespace string, ref cmmeta.IssuerReference) ask {
	return func(*testing.T) client.Object {
		return &cmv1.CertificateRequest{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "r-"},
			Spec:       cmv1.CertificateRequestSpec{Request: []byte("x"), IssuerRef: ref},
		}
	}
}

func askSigning(signer string) ask {
	return func(t *testing.T) client.Object {
		return &certificatesv1.CertificateSigningRequest{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "s-"},
			Spec:       certificatesv1.CertificateSigningRequestSpec{Request: signingRequest(t), SignerName: signer, Usages: []certificatesv1.KeyUsage{"client auth"}},
		}
	}
}

// asksOfMesh are what is tried while the mesh's issuer is the ClusterIssuer "mesh".
var asksOfMesh = []struct {
	who, what string
	ask       ask
	refused   bool
}{
	{byOther, "a Certificate", askCertificate("shop", ofMesh), true},
	{byOther, "a Certificate in weft-system", askCertificate("weft-system", ofMesh), true},
	{byOther, "a Certificate that names the group", askCertificate("shop", cmmeta.IssuerReference{Group: "cert-manager.io", Kind: "ClusterIssuer", Name: "mesh"}), true},
	{byOther, "a request", askRequest("shop", ofMesh), true},
	{byOther, "a request in weft-system", askRequest("weft-system", ofMesh), true},
	{byOther, "a signing request", askSigning("clusterissuers.cert-manager.io/mesh"), true},
	{byManager, "a Certificate, for an Ingress", askCertificate("shop", ofMesh), true},
	{byManager, "a request elsewhere", askRequest("shop", ofMesh), true},
	{byManager, "a request", askRequest("weft-system", ofMesh), false},
	{byWeft, "a Certificate", askCertificate("weft-system", ofMesh), false},
	{byOther, "a Certificate of another issuer", askCertificate("shop", ofPublic), false},
	{byOther, "a Certificate of its own Issuer of that name", askCertificate("shop", cmmeta.IssuerReference{Name: "mesh"}), false},
	{byOther, "a request of another issuer", askRequest("shop", ofPublic), false},
	{byOther, "another signing request", askSigning("clusterissuers.cert-manager.io/public"), false},
}

// TestOnlyWeftAsksTheIssuer: whoever else names the mesh's issuer is refused, by any kind of request,
// in any namespace.
func TestOnlyWeftAsksTheIssuer(t *testing.T) {
	is := newIssuers(t)
	is.change(func(i *v1alpha1.Identity) {
		i.IssuerRef = &v1alpha1.IssuerReference{Name: "mesh", Kind: "ClusterIssuer"}
	})
	for _, c := range asksOfMesh {
		t.Run(c.who+" "+c.what, func(t *testing.T) {
			by := newClient(t, as(is.config, c.who))
			var err error
			eventually(t, "the policy's answer", func(ctx context.Context) bool {
				err = by.Create(ctx, c.ask(t))
				refused := apierrors.IsForbidden(err) && strings.Contains(err.Error(), "only Weft may ask the mesh's issuer")
				return refused == c.refused && (c.refused || err == nil)
			}, func() string { return fmt.Sprint(err) })
		})
	}
	t.Run("changes", func(t *testing.T) { changesOfMesh(t, is) })
}

// changesOfMesh: no Certificate can be made to name the mesh's issuer, and one that does can be
// labelled by anybody who may.
func changesOfMesh(t *testing.T, is *issuers) {
	by := newClient(t, as(is.config, byOther))
	theirs := askCertificate("shop", ofPublic)(t).(*cmv1.Certificate)
	create(t, by, theirs)
	theirs.Spec.IssuerRef = ofMesh
	if err := by.Update(t.Context(), theirs); !apierrors.IsForbidden(err) {
		t.Errorf("a Certificate was made to name the mesh's issuer: %v", err)
	}
	probe := &cmv1.Certificate{}
	if err := is.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: pki.Probe}, probe); err != nil {
		t.Fatal(err)
	}
	probe.Labels["theirs"] = "too"
	if err := by.Update(t.Context(), probe); err != nil {
		t.Errorf("a label was refused: %v", err)
	}
}

func signingRequest(t *testing.T) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}
