package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/pki"
)

// +kubebuilder:rbac:groups=cert-manager.io,namespace=weft-system,resources=issuers,verbs=delete
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingadmissionpolicies;validatingadmissionpolicybindings,verbs=create
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingadmissionpolicies;validatingadmissionpolicybindings,resourceNames=weft-mesh-issuer;weft-mesh-issuer-signing-requests,verbs=patch
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingadmissionpolicies;validatingadmissionpolicybindings,verbs=get;list;watch

// Trust has the mesh's roots follow its issuer: it makes Weft's own authority, sees by a probe which
// roots an issuer has, and takes a change of root from step to step, each written down before the
// next. Only the leader does, once cert-manager is there.
type Trust struct {
	client.Client
	Told       func() uint64          // the Serial of the state that the proxies were told of
	Proxies    func() map[string]bool // the connected ones ("namespace/pod"): whether each acknowledged what it was told
	Identities func() []mesh.Identity // every one
	Changed    func()                 // called when Status differs

	absent  absence
	written pki.State // last, which the cache may not hold yet
	mu      sync.Mutex
	status  *v1alpha1.IdentityStatus
}

// trustRetry is how often a change under way is looked at, beside whenever something is told.
const trustRetry = 2 * time.Second

// setup starts the controller. changed tells of what proxies and identities do.
func (t *Trust) setup(mgr ctrl.Manager, changed <-chan event.GenericEvent) error {
	one := reconcile.Request{NamespacedName: client.ObjectKey{Name: v1alpha1.MeshName}}
	always := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{one}
	})
	ours := builder.WithPredicates(predicate.ResourceVersionChangedPredicate{}, predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetNamespace() == v1alpha1.SystemNamespace && o.GetLabels()[pki.RoleLabel] != pki.RoleIdentity
	}))
	err := ctrl.NewControllerManagedBy(mgr).
		Named("trust").
		WithOptions(retrying()).
		Watches(&v1alpha1.Mesh{}, always, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&cmv1.Issuer{}, always, ours).
		Watches(&cmv1.Certificate{}, always, ours).
		Watches(&corev1.Secret{}, always, ours).
		Watches(&corev1.ConfigMap{}, always, ours).
		Watches(&admissionv1.ValidatingAdmissionPolicy{}, always).
		Watches(&admissionv1.ValidatingAdmissionPolicyBinding{}, always).
		WatchesRawSource(source.Channel(changed, handler.Funcs{GenericFunc: soon})).
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			queue.Add(one) // there may be nothing yet to be told of
			return nil
		})).
		Complete(t)
	if err != nil {
		return fmt.Errorf("start the controller of the roots: %w", err)
	}
	return nil
}

// Reconcile makes what issuance needs, and takes the next step of a change of root.
func (t *Trust) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	var settings v1alpha1.Mesh
	if err := t.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, &settings); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("read Mesh %s: %w", v1alpha1.MeshName, err)
	}
	s := pki.SettingsOf(&settings)
	state, err := t.read(ctx)
	if err != nil {
		t.say(v1alpha1.IdentityStatus{Phase: waiting, Problems: []v1alpha1.IdentityProblem{{Message: clip(err.Error(), maxRefusalDetail)}}})
		return ctrl.Result{}, err
	}
	failed := []error{t.guard(ctx, s, state), t.prepare(ctx, s)}
	seen, problem, err := t.observe(ctx, s, state)
	if err != nil {
		return ctrl.Result{}, errors.Join(append(failed, err)...)
	}
	next := pki.Next(state, seen)
	if err := t.write(ctx, next); err != nil {
		return ctrl.Result{}, errors.Join(append(failed, err)...)
	}
	failed = append(failed, t.intermediate(ctx, s, next), t.clear(ctx, s, next, seen))
	t.say(t.report(next, seen, problem))
	if next.Phase == pki.Steady {
		return ctrl.Result{}, errors.Join(failed...)
	}
	return ctrl.Result{RequeueAfter: trustRetry}, errors.Join(failed...)
}

// read is the state that was written last, by this operator or by the one before.
func (t *Trust) read(ctx context.Context) (pki.State, error) {
	if t.written.Phase != pki.Waiting {
		return t.written, nil
	}
	var cm corev1.ConfigMap
	err := t.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: pki.StateName}, &cm)
	if client.IgnoreNotFound(err) != nil {
		return pki.State{}, fmt.Errorf("read the state of the roots: %w", err)
	}
	if err != nil {
		return pki.State{}, nil
	}
	return pki.ParseState(&cm)
}

// write writes a state down. One that could not be written did not come about.
func (t *Trust) write(ctx context.Context, state pki.State) error {
	if state.Phase == pki.Waiting {
		return nil
	}
	if err := apply(ctx, t.Client, state.ConfigMap()); err != nil {
		return err
	}
	t.written = state
	return nil
}

// guard keeps everybody else from the issuers.
func (t *Trust) guard(ctx context.Context, s pki.Settings, state pki.State) error {
	var failed []error
	for _, policy := range pki.Policies(pki.Protected(s, state), s.CertManager) {
		failed = append(failed, apply(ctx, t.Client, policy), apply(ctx, t.Client, pki.Binding(policy.Name)))
	}
	return errors.Join(failed...)
}

// prepare makes Weft's own authority, unless the Mesh names another, and the probe.
func (t *Trust) prepare(ctx context.Context, s pki.Settings) error {
	var all []client.Object
	if s.Authority > 0 {
		all = append(all, pki.SelfSignedIssuer(), pki.AuthorityCertificate(s.Authority), pki.AuthorityIssuer(s.Authority))
	}
	var failed []error
	for _, want := range append(all, s.ProbeCertificate()) {
		failed = append(failed, apply(ctx, t.Client, want))
	}
	return errors.Join(failed...)
}

// observe is what the next step depends on, and what is wrong with the issuer that the Mesh names.
func (t *Trust) observe(ctx context.Context, s pki.Settings, state pki.State) (pki.Observation, string, error) {
	// What was told is read first: what proxies and identities say may then be about a later state, but
	// about no earlier one. After a start nothing is known of either before it is told.
	o := pki.Observation{Wanted: s.Issuer, Told: t.Told()}
	for _, id := range t.Identities() {
		if !id.Current || id.Serial != state.Serial {
			o.Accounts = append(o.Accounts, id.Account)
		}
	}
	slices.Sort(o.Accounts)
	if state.Phase != pki.Steady {
		var err error
		if o.Proxies, err = t.behind(ctx); err != nil {
			return o, "", err
		}
	}
	probed, problem, err := t.probe(ctx, s, state)
	o.Roots = probed
	return o, problem, err
}

// intermediate makes the authority that signs in memory, by the issuer that certificates are asked of.
func (t *Trust) intermediate(ctx context.Context, s pki.Settings, state pki.State) error {
	if s.Issuance != v1alpha1.IssuanceIntermediate || state.Phase == pki.Waiting {
		return nil
	}
	return apply(ctx, t.Client, s.IntermediateCertificate(state.Issuer))
}

// clear deletes the authorities that signed before, and do no more. Before a state is told, nothing is
// known of who still shows what they signed.
func (t *Trust) clear(ctx context.Context, s pki.Settings, state pki.State, seen pki.Observation) error {
	if state.Phase != pki.Steady || seen.Told != state.Serial {
		return nil
	}
	ours := []client.ListOption{
		client.InNamespace(v1alpha1.SystemNamespace), client.HasLabels{pki.RoleLabel},
		client.MatchingLabels{gateway.ManagedByLabel: gateway.ManagedBy},
	}
	var issuers cmv1.IssuerList
	var certs cmv1.CertificateList
	if err := errors.Join(t.List(ctx, &issuers, ours...), t.List(ctx, &certs, ours...)); err != nil {
		return fmt.Errorf("list authorities: %w", err)
	}
	var failed []error
	for i := range issuers.Items {
		if t.over(&issuers.Items[i], s) {
			failed = append(failed, remove(ctx, t.Client, &issuers.Items[i]))
		}
	}
	for i := range certs.Items {
		if t.over(&certs.Items[i], s) {
			failed = append(failed, remove(ctx, t.Client, &certs.Items[i]))
		}
	}
	return errors.Join(failed...)
}

// over says whether an authority was needed and is no more.
func (t *Trust) over(o client.Object, s pki.Settings) bool {
	switch o.GetLabels()[pki.RoleLabel] {
	case pki.RoleAuthority:
		return o.GetName() != s.Issuer.Name
	case pki.RoleIntermediate:
		signed := func(id mesh.Identity) bool { return id.Signed }
		return s.Issuance != v1alpha1.IssuanceIntermediate && !slices.ContainsFunc(t.Identities(), signed)
	}
	return false
}
