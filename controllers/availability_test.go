package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/webhooks"
)

func TestFoundNamesWhatIsMissing(t *testing.T) {
	served := Served{bundles: map[string]cluster.Bundle{gwv1.GroupName: {Version: "v1.2.0"}}}
	served.kinds = map[schema.GroupVersionKind]bool{
		gatewayVersion.WithKind("GatewayClass"): true,
		gatewayVersion.WithKind("Gateway"):      true,
		gatewayVersion.WithKind("HTTPRoute"):    true,
		gatewayVersion.WithKind("GRPCRoute"):    true,
	}
	found := served.Find(GatewayAPI)
	if found.OK() || len(found.Missing) != 1 {
		t.Fatalf("found %+v", found)
	}
	for _, says := range []string{"referencegrants.gateway.networking.k8s.io", "v1.2.0", "kubectl apply"} {
		if !strings.Contains(found.Message(), says) {
			t.Errorf("%q does not say %q", found.Message(), says)
		}
	}
	if none := (Served{}).Find(CertManager); none.OK() || len(none.Missing) != len(CertManager.Resources) {
		t.Errorf("of nothing, found %+v", none)
	}
}

// installation is an API server on which the whole operator runs.
type installation struct {
	*testing.T
	client.Client
	config *rest.Config
	health string
}

func newInstallation(t *testing.T) *installation {
	i := &installation{T: t, config: apiServer(t)}
	i.Client = newClient(t, i.config)
	installMesh(t, i.config)
	create(t, i.Client, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}})
	return i
}

// operate runs the operator until the test ends.
func (i *installation) operate() {
	i.Helper()
	i.operateRevision("")
}

// operateRevision runs the operator of a revision.
func (i *installation) operateRevision(revision string) {
	i.Helper()
	i.health = fmt.Sprintf("127.0.0.1:%d", int(porttest.Free(i.T, 1)[0]))
	mgr, err := ctrl.NewManager(as(i.config, "weft-system:weft-operator"), ctrl.Options{
		Scheme: i.Scheme(), Cache: CacheOptions(revision), Metrics: server.Options{BindAddress: "0"},
		HealthProbeBindAddress: i.health, Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err == nil {
		err = Setup(mgr, Ports{XDS: "127.0.0.1:0", Webhook: int(porttest.Free(i.T, 1)[0])}, "weft:test", revision)
	}
	if err != nil {
		i.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	i.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			i.Errorf("the operator: %v", err)
		}
	})
}

// awaitReady waits for the readiness check that the kubelet would ask.
func (i *installation) awaitReady() {
	i.Helper()
	var last error
	eventually(i.T, "readiness", func(ctx context.Context) bool {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.health+"/readyz", nil)
		if err != nil {
			i.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if last = err; err != nil {
			return false
		}
		defer response.Body.Close()
		last = errors.New(response.Status)
		return response.StatusCode == http.StatusOK
	}, func() string { return fmt.Sprint(last) })
}

// await waits for a condition of the Mesh, with that reason, and a message that says all of this.
func (i *installation) await(kind string, status metav1.ConditionStatus, reason string, says ...string) {
	i.Helper()
	var m v1alpha1.Mesh
	eventually(i.T, "condition "+kind, func(ctx context.Context) bool {
		if err := i.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, &m); err != nil {
			return false
		}
		c := meta.FindStatusCondition(m.Status.Conditions, kind)
		holds := c != nil && c.Status == status && c.Reason == reason && c.ObservedGeneration == m.Generation
		for _, s := range says {
			holds = holds && strings.Contains(c.Message, s)
		}
		return holds
	}, func() string {
		return fmt.Sprintf("want %s/%s that says %q: %+v", status, reason, says, m.Status.Conditions)
	})
}

// awaitEvent waits for an Event about a kind of object.
func (i *installation) awaitEvent(about, reason string) {
	i.Helper()
	var all eventsv1.EventList
	eventually(i.T, "Event "+reason, func(ctx context.Context) bool {
		if err := i.List(ctx, &all); err != nil {
			return false
		}
		for _, e := range all.Items {
			if e.Regarding.Kind == about && e.Reason == reason {
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprintf("%d other Events", len(all.Items)) })
}

// awaitObject waits until an object is there.
func (i *installation) awaitObject(o client.Object) {
	i.Helper()
	var last error
	eventually(i.T, fmt.Sprintf("%T %s", o, o.GetName()), func(ctx context.Context) bool {
		last = i.Get(ctx, client.ObjectKeyFromObject(o), o)
		return last == nil
	}, func() string { return fmt.Sprint(last) })
}

// answer is what cert-manager says of a Certificate.
func (i *installation) answer(name string, c cmv1.CertificateCondition) {
	i.Helper()
	cert := &cmv1.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: name}}
	i.awaitObject(cert)
	cert.Status.Conditions = []cmv1.CertificateCondition{c}
	if err := i.Status().Update(i.Context(), cert); err != nil {
		i.Fatal(err)
	}
}

func TestPartsAppearInAnyOrder(t *testing.T) {
	t.Run("Gateway API first", func(t *testing.T) {
		i := newInstallation(t)
		create(t, i.Client, &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}})
		i.operate()
		i.awaitReady()
		i.await(v1alpha1.ConditionGatewayAPIAvailable, metav1.ConditionFalse, "Missing", "gateways.gateway.networking.k8s.io", "kubectl apply")
		i.await(v1alpha1.ConditionCertManagerAvailable, metav1.ConditionFalse, "Missing", "certificates.cert-manager.io", "install cert-manager")
		i.await(v1alpha1.ConditionReady, metav1.ConditionFalse, "GatewayAPIMissing", "kubectl apply")
		i.awaitEvent("Mesh", "GatewayAPIMissing")
		i.awaitEvent("Mesh", "CertManagerMissing")
		installGatewayAPI(t, i.config)
		i.await(v1alpha1.ConditionGatewayAPIAvailable, metav1.ConditionTrue, "Installed", "v1.6.3")
		i.await(v1alpha1.ConditionReady, metav1.ConditionFalse, "CertManagerMissing", "install cert-manager")
		i.awaitEvent("Mesh", "GatewayAPIInstalled")
		i.awaitClass()
		i.awaitRetries(false)
		installCertManager(t, i.config)
		i.await(v1alpha1.ConditionReady, metav1.ConditionFalse, "CertificatePending", "weft-system/weft-")
		i.awaitCertificates()
	})
	t.Run("cert-manager first, and no Mesh", func(t *testing.T) {
		i := newInstallation(t)
		i.operate()
		i.awaitReady()
		i.awaitEvent("Namespace", "CertManagerMissing")
		installCertManager(t, i.config)
		i.awaitEvent("Namespace", "CertManagerInstalled")
		i.awaitCertificates()
		install(t, i.config, "sigs.k8s.io/gateway-api", "config/crd/experimental")
		i.awaitClass()
		i.awaitRetries(true)
		i.awaitExperimental()
		create(t, i.Client, &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}})
		i.answerAll()
	})
}

// awaitClass waits for Weft's GatewayClass, and for what the core says of it.
func (i *installation) awaitClass() {
	i.Helper()
	var class gwv1.GatewayClass
	eventually(i.T, "GatewayClass", func(ctx context.Context) bool {
		err := i.Get(ctx, client.ObjectKey{Name: ClassName}, &class)
		return err == nil && meta.IsStatusConditionTrue(class.Status.Conditions, "Accepted")
	}, func() string { return fmt.Sprintf("%+v", class.Status) })
}

// awaitRetries waits until the GatewayClass claims retries, of which only the CRDs of the experimental channel
// know, or claims other things alone.
func (i *installation) awaitRetries(claimed bool) {
	i.Helper()
	var class gwv1.GatewayClass
	eventually(i.T, "a claim of retries", func(ctx context.Context) bool {
		err := i.Get(ctx, client.ObjectKey{Name: ClassName}, &class)
		claims := slices.ContainsFunc(class.Status.SupportedFeatures, func(f gwv1.SupportedFeature) bool { return f.Name == "HTTPRouteRetry" })
		return err == nil && len(class.Status.SupportedFeatures) > 0 && claims == claimed
	}, func() string { return fmt.Sprintf("%+v", class.Status.SupportedFeatures) })
}

// awaitExperimental waits for what is said of objects of the kinds that only the experimental channel has.
func (i *installation) awaitExperimental() {
	i.Helper()
	shown := &gwx.XMesh{ObjectMeta: metav1.ObjectMeta{Name: "weft"}, Spec: gwx.MeshSpec{ControllerName: mesh.MeshControllerName}}
	policy := &gwx.XBackendTrafficPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "policy"}}
	policy.Spec.TargetRefs = []gwx.LocalPolicyTargetReference{{Kind: "Service", Name: "nowhere"}}
	create(i.T, i.Client, shown, policy)
	eventually(i.T, "statuses", func(ctx context.Context) bool {
		err := errors.Join(i.Get(ctx, client.ObjectKeyFromObject(shown), shown), i.Get(ctx, client.ObjectKeyFromObject(policy), policy))
		return err == nil && meta.IsStatusConditionTrue(shown.Status.Conditions, string(gwx.MeshConditionAccepted)) && len(shown.Status.SupportedFeatures) == len(mesh.MeshFeatures) &&
			len(policy.Status.Ancestors) == 1 && policy.Status.Ancestors[0].Conditions[0].Reason == string(gwv1.PolicyReasonTargetNotFound)
	}, func() string { return fmt.Sprintf("%+v\n%+v", shown.Status, policy.Status) })
}

func (i *installation) awaitCertificates() {
	i.Helper()
	system := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: name}
	}
	for _, o := range []client.Object{
		&cmv1.Issuer{ObjectMeta: system(selfSignedIssuer)},
		&cmv1.Certificate{ObjectMeta: system(CASecret)},
		&cmv1.Issuer{ObjectMeta: system(caIssuer)},
		&cmv1.Certificate{ObjectMeta: system(xdsName)},
		&cmv1.Certificate{ObjectMeta: system(webhooks.Name)},
		&admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: webhooks.Name}},
	} {
		i.awaitObject(o)
	}
}

// answerAll has the Mesh follow what cert-manager says: a failure, then certificates.
func (i *installation) answerAll() {
	i.Helper()
	i.answer(xdsName, cmv1.CertificateCondition{
		Type: cmv1.CertificateConditionIssuing, Status: cmmeta.ConditionFalse, Reason: "Failed", Message: "the issuer says no",
	})
	i.await(v1alpha1.ConditionStalled, metav1.ConditionTrue, "CertificateFailed", "weft-system/weft-xds", "the issuer says no")
	ready := cmv1.CertificateCondition{Type: cmv1.CertificateConditionReady, Status: cmmeta.ConditionTrue, Reason: "Ready"}
	i.answer(xdsName, ready)
	i.answer(webhooks.Name, ready)
	i.await(v1alpha1.ConditionReconciling, metav1.ConditionTrue, "IdentityPending", "Issuer/weft-mesh-ca-1 has signed nothing yet")
	signers := &issuers{installation: i, roots: map[string]*authority{}}
	signers.await("an identity", func(s *v1alpha1.IdentityStatus) bool { return s.Phase == "Steady" })
	i.await(v1alpha1.ConditionReady, metav1.ConditionTrue, "Serving")
	var m v1alpha1.Mesh
	if err := i.Get(i.Context(), client.ObjectKey{Name: v1alpha1.MeshName}, &m); err != nil {
		i.Fatal(err)
	}
	for _, gone := range []string{v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling} {
		if meta.FindStatusCondition(m.Status.Conditions, gone) != nil {
			i.Errorf("Ready, but %s is still there", gone)
		}
	}
}
