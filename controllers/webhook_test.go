package controllers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/webhooks"
)

// webhookStage is an API server, and the webhook served with the certificate in a Secret.
type webhookStage struct {
	*testing.T
	client.Client
	port int
}

func newWebhookStage(t *testing.T) *webhookStage {
	config := apiServer(t)
	installGatewayAPI(t, config)
	installMesh(t, config)
	s := &webhookStage{T: t, Client: newClient(t, config), port: int(porttest.Free(t, 1)[0])}
	create(t, s.Client, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}})
	mgr, err := ctrl.NewManager(config, ctrl.Options{Scheme: s.Scheme(), Cache: CacheOptions(""), Metrics: server.Options{BindAddress: "0"}})
	if err == nil {
		keys := &KeyPair{Secrets: mgr.GetClient(), Name: systemName(webhookSecret)}
		err = webhooks.Setup(mgr, s.port, keys.GetCertificate, injector(mgr.GetClient(), "weft:test", ""))
	}
	if err != nil {
		t.Fatal(err)
	}
	run(t, mgr)
	return s
}

// servingSecret is the Secret that cert-manager would make, with a certificate of that serial.
func servingSecret(t *testing.T, serial int64) *corev1.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: webhookSecret},
		Type:       corev1.SecretTypeTLS,
		Data: map[string][]byte{
			corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
			corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		},
	}
}

// serial is that of the certificate served now.
func (s *webhookStage) serial() (int64, error) {
	dialer := &net.Dialer{Timeout: time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", fmt.Sprintf("127.0.0.1:%d", s.port), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func (s *webhookStage) awaitSerial(want int64) {
	s.Helper()
	var got int64
	var err error
	eventually(s.T, "the certificate", func(context.Context) bool {
		got, err = s.serial()
		return got == want
	}, func() string { return fmt.Sprintf("serial %d (%v); want %d", got, err, want) })
}

// register has the API server call the webhook at that port.
func (s *webhookStage) register(name string, port int, bundle []byte, policy admissionv1.FailurePolicyType) *admissionv1.ValidatingWebhookConfiguration {
	s.Helper()
	c := webhooks.Configuration(v1alpha1.SystemNamespace)
	c.Name = name
	w := &c.Webhooks[0]
	url := fmt.Sprintf("https://127.0.0.1:%d%s", port, *w.ClientConfig.Service.Path)
	w.ClientConfig = admissionv1.WebhookClientConfig{URL: &url, CABundle: bundle}
	w.FailurePolicy = &policy
	create(s.T, s.Client, c)
	return c
}

func gatewayNamed(name string, annotations map[string]string) *gwv1.Gateway {
	return &gwv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Annotations: annotations},
		Spec: gwv1.GatewaySpec{
			GatewayClassName: ClassName, Listeners: []gwv1.Listener{{Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}},
		},
	}
}

func TestWebhook(t *testing.T) {
	s := newWebhookStage(t)
	bad := map[string]string{mesh.IssuerAnnotation: "Secret/ca"}
	old := gatewayNamed("old", bad)
	create(t, s.Client, old)
	if serial, err := s.serial(); err == nil {
		t.Fatalf("a certificate with serial %d is served before there is one", serial)
	}
	secret := servingSecret(t, 1)
	create(t, s.Client, secret)
	s.awaitSerial(1)
	s.register("weft-test", s.port, secret.Data[corev1.TLSCertKey], admissionv1.Fail)
	var err error
	eventually(t, "a refusal", func(ctx context.Context) bool {
		err = s.Create(ctx, gatewayNamed("bad", bad), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "ClusterIssuer/<name>")
	}, func() string { return fmt.Sprint(err) })
	if !strings.Contains(err.Error(), "metadata.annotations[mesh.weft.dev/issuer]") || !strings.Contains(err.Error(), "default/bad") {
		t.Errorf("%v does not name the object and the field", err)
	}
	create(t, s.Client, gatewayNamed("good", map[string]string{mesh.IssuerAnnotation: "ClusterIssuer/ca"}))
	old.Labels = map[string]string{"edited": "yes"}
	if err := s.Update(t.Context(), old); err != nil {
		t.Errorf("another edit of a Gateway that was let through earlier: %v", err)
	}
	secret.Data = servingSecret(t, 2).Data
	if err := s.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	s.awaitSerial(2)
}

// TestWebhookIsNotAskedAboutOtherGateways registers it where nothing answers, to be waited for.
func TestWebhookIsNotAskedAboutOtherGateways(t *testing.T) {
	config := apiServer(t)
	installGatewayAPI(t, config)
	s := &webhookStage{T: t, Client: newClient(t, config)}
	s.register("unanswered", int(porttest.Free(t, 1)[0]), nil, admissionv1.Fail)
	asked := map[string]string{mesh.IssuerAnnotation: "ca"}
	var err error
	eventually(t, "the configuration", func(ctx context.Context) bool {
		err = s.Create(ctx, gatewayNamed("asked", asked), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "failed calling webhook")
	}, func() string { return fmt.Sprint(err) })
	create(t, s.Client, gatewayNamed("plain", nil), gatewayNamed("other", map[string]string{"example.com/other": "x"}))
}
