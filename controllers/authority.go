package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/webhooks"
)

// What Weft's own certificates are called, in weft-system.
const (
	xdsName          = mesh.OperatorService
	webhookSecret    = "weft-webhook-tls"
	selfSignedIssuer = "weft-selfsigned"
	caIssuer         = "weft-ca"
	authzSecret      = "weft-authz-tls"
)

// caLifetime is long: proxies are told of a new authority when cert-manager renews it, at two
// thirds of this.
const caLifetime = 5 * 365 * 24 * time.Hour

// +kubebuilder:rbac:groups=cert-manager.io,resources=issuers,verbs=get;list;watch
// +kubebuilder:rbac:groups=cert-manager.io,namespace=weft-system,resources=issuers,verbs=create;patch
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations;mutatingwebhookconfigurations,verbs=create
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,resourceNames=weft-webhook,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingwebhookconfigurations,resourceNames=weft-injector,verbs=get;list;watch;patch

// Authority makes, through cert-manager, the certificates that Weft itself serves, and the
// authority that signs them unless the Mesh names an issuer. That of an operator with a revision makes
// only what this operator serves, by the authority of the one without.
type Authority struct {
	client.Client
	Revision string
}

// SetupAuthority starts the Authority on the leader. The kinds of cert-manager must be there.
func SetupAuthority(mgr ctrl.Manager, revision string) error {
	one := reconcile.Request{NamespacedName: client.ObjectKey{Name: v1alpha1.MeshName}}
	always := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{one}
	})
	ours := predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetNamespace() == v1alpha1.SystemNamespace })
	changed := predicate.ResourceVersionChangedPredicate{}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("authority").
		WithOptions(retrying()).
		Watches(&v1alpha1.Mesh{}, always, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&cmv1.Issuer{}, always, builder.WithPredicates(ours, changed)).
		Watches(&cmv1.Certificate{}, always, builder.WithPredicates(ours, changed)).
		Watches(&admissionv1.ValidatingWebhookConfiguration{}, always).
		Watches(&admissionv1.MutatingWebhookConfiguration{}, always).
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			queue.Add(one) // there may be nothing yet to be told of
			return nil
		})).
		Complete(&Authority{mgr.GetClient(), revision})
	if err != nil {
		return fmt.Errorf("start the controller of certificates: %w", err)
	}
	return nil
}

// Reconcile makes all of it so.
func (a *Authority) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	var settings v1alpha1.Mesh
	if err := a.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, &settings); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("read Mesh %s: %w", v1alpha1.MeshName, err)
	}
	var failed []error
	for _, want := range ownCertificates(settings.Spec, a.Revision) {
		failed = append(failed, apply(ctx, a.Client, want))
	}
	if a.Revision == "" {
		failed = append(failed, apply(ctx, a.Client, webhooks.Configuration(v1alpha1.SystemNamespace)))
	}
	failed = append(failed, a.injector(ctx))
	return ctrl.Result{}, errors.Join(failed...)
}

// injector is owned by the namespace that serves it: without an operator, it would keep pods from
// being made.
func (a *Authority) injector(ctx context.Context) error {
	var ns corev1.Namespace
	if err := a.Get(ctx, client.ObjectKey{Name: v1alpha1.SystemNamespace}, &ns); err != nil {
		return fmt.Errorf("read Namespace %s: %w", v1alpha1.SystemNamespace, err)
	}
	configuration := webhooks.InjectorConfiguration(v1alpha1.SystemNamespace, a.Revision)
	configuration.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: ns.Name, UID: ns.UID}}
	return apply(ctx, a.Client, configuration)
}

// ownCertificates are the issuers and certificates that the operator of a revision needs for itself, from
// the issuer that the Mesh names, or from an authority of Weft's own, which the one without a revision makes. So does
// that of weft authz, whether it is installed or not.
func ownCertificates(settings v1alpha1.MeshSpec, revision string) []client.Object {
	var all []client.Object
	ref := settings.IssuerRef
	issuer := cmmeta.IssuerReference{Group: cmv1.SchemeGroupVersion.Group, Kind: cmv1.IssuerKind, Name: caIssuer}
	if ref != nil {
		issuer = cmmeta.IssuerReference{Group: ref.Group, Kind: ref.Kind, Name: ref.Name}
	} else if revision == "" {
		all = append(all,
			ownIssuer(selfSignedIssuer, cmv1.IssuerConfig{SelfSigned: &cmv1.SelfSignedIssuer{}}),
			ownAuthority(),
			ownIssuer(caIssuer, cmv1.IssuerConfig{CA: &cmv1.CAIssuer{SecretName: CASecret}}))
	}
	asked := serving(webhooks.Revised(webhooks.Name, revision), webhooks.Revised(webhookSecret, revision), issuer)
	if revision == "" {
		all = append(all, serving(trafficMetricsName, trafficMetricsSecret, issuer), serving(mesh.AuthzService, authzSecret, issuer))
		asked.Spec.DNSNames = append(asked.Spec.DNSNames, serviceHost(webhooks.ConversionName))
	}
	return append(all, serving(webhooks.Revised(xdsName, revision), webhooks.Revised(XDSSecret, revision), issuer), asked)
}

// serviceHost is by which name the API server, or a proxy, calls one of the operator's Services.
func serviceHost(service string) string { return service + "." + v1alpha1.SystemNamespace + ".svc" }

func ownIssuer(name string, config cmv1.IssuerConfig) *cmv1.Issuer {
	return &cmv1.Issuer{
		TypeMeta:   metav1.TypeMeta{APIVersion: cmv1.SchemeGroupVersion.String(), Kind: cmv1.IssuerKind},
		ObjectMeta: ownMeta(name),
		Spec:       cmv1.IssuerSpec{IssuerConfig: config},
	}
}

func ownAuthority() *cmv1.Certificate {
	return certificate(ownMeta(CASecret), cmv1.CertificateSpec{
		IsCA:       true,
		CommonName: "Weft authority",
		SecretName: CASecret,
		Duration:   &metav1.Duration{Duration: caLifetime},
		IssuerRef:  cmmeta.IssuerReference{Group: cmv1.SchemeGroupVersion.Group, Kind: cmv1.IssuerKind, Name: selfSignedIssuer},
	})
}

// serving is the certificate of one of the operator's Services.
func serving(service, secret string, issuer cmmeta.IssuerReference) *cmv1.Certificate {
	host := serviceHost(service)
	return certificate(ownMeta(service), cmv1.CertificateSpec{
		DNSNames:   []string{host, host + ".cluster.local"},
		SecretName: secret,
		Usages:     []cmv1.KeyUsage{cmv1.UsageDigitalSignature, cmv1.UsageServerAuth},
		IssuerRef:  issuer,
	})
}

// certificate has a new ECDSA key with each renewal.
func certificate(meta metav1.ObjectMeta, spec cmv1.CertificateSpec) *cmv1.Certificate {
	spec.PrivateKey = &cmv1.CertificatePrivateKey{Algorithm: cmv1.ECDSAKeyAlgorithm, Size: 256, RotationPolicy: cmv1.RotationPolicyAlways}
	return &cmv1.Certificate{
		TypeMeta:   metav1.TypeMeta{APIVersion: cmv1.SchemeGroupVersion.String(), Kind: cmv1.CertificateKind},
		ObjectMeta: meta,
		Spec:       spec,
	}
}

func ownMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: v1alpha1.SystemNamespace, Name: name,
		Labels: map[string]string{gateway.ManagedByLabel: gateway.ManagedBy},
	}
}
