package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
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
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/webhooks"
)

// +kubebuilder:rbac:groups=mesh.weft.dev,resources=meshes,verbs=get;list;watch
// +kubebuilder:rbac:groups=mesh.weft.dev,resources=meshes/status,verbs=patch

// MeshStatus says in the Mesh, and by Events, whether Weft has all it needs. Without a Mesh
// the Events are about the operator's Deployment. Only the leader does.
type MeshStatus struct {
	client.Client
	Events   events.EventRecorder
	Served   func() Served
	Proxies  func() v1alpha1.ProxySummary
	Identity func() *v1alpha1.IdentityStatus
	// Sidecars sums up the pods that have a proxy, given the defaults of now.
	Sidecars func(v1alpha1.SidecarDefaults) (v1alpha1.SidecarSummary, error)

	mu   sync.Mutex
	said map[string]metav1.ConditionStatus // what the last Event of each condition said
}

func setupMeshStatus(mgr ctrl.Manager, s *Server, image string) error {
	beside := &sidecars{}
	authzChanges, ofAuthzOnly := ofAuthz()
	m := &MeshStatus{
		Client: mgr.GetClient(), Events: mgr.GetEventRecorder("weft"),
		Served:   func() Served { return *s.served.Load() },
		Proxies:  func() v1alpha1.ProxySummary { return summary(s.facts.All()) },
		Identity: s.trust.Status,
		Sidecars: func(d v1alpha1.SidecarDefaults) (v1alpha1.SidecarSummary, error) {
			revision, err := sidecarRevision(d, image, xdsHost(""))
			return beside.summary(revision), err
		},
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("mesh").
		WithOptions(retrying()).
		For(&v1alpha1.Mesh{}, builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		Watches(&corev1.Pod{}, beside.handler()).
		Watches(&discoveryv1.EndpointSlice{}, authzChanges, ofAuthzOnly).
		WatchesRawSource(source.Channel(s.changed, handler.Funcs{GenericFunc: soon})).
		Complete(m)
	if err != nil {
		return fmt.Errorf("start the controller of the Mesh: %w", err)
	}
	return nil
}

// meshPause is how long changes, such as of what proxies answer, are gathered before they are
// written: the Mesh is written twice a second at most.
const meshPause = 500 * time.Millisecond

func soon(_ context.Context, e event.GenericEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	queue.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)}, meshPause)
}

// Reconcile writes the status of the Mesh.
func (m *MeshStatus) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	wanted, err := m.conditions(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	var live v1alpha1.Mesh
	err = m.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, &live)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("read Mesh %s: %w", v1alpha1.MeshName, err)
	}
	if err != nil {
		return ctrl.Result{}, m.tell(ctx, nil, wanted)
	}
	if err := m.tell(ctx, &live, wanted); err != nil {
		return ctrl.Result{}, err
	}
	heard, err := m.heard(ctx, &live)
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, m.write(ctx, &live, append(wanted, heard...))
}

func (m *MeshStatus) write(ctx context.Context, live *v1alpha1.Mesh, wanted []metav1.Condition) error {
	before := live.DeepCopy()
	for i := range wanted {
		wanted[i].ObservedGeneration = live.Generation
	}
	live.Status.ObservedGeneration = live.Generation
	live.Status.Conditions = conditions(live.Status.Conditions, wanted, metav1.Now())
	proxies := m.Proxies()
	beside, err := m.Sidecars(live.Spec.Sidecars)
	if err != nil {
		return err
	}
	live.Status.Proxies, live.Status.Identity, live.Status.Sidecars = &proxies, m.Identity(), &beside
	if equality.Semantic.DeepEqual(before.Status, live.Status) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := m.Status().Patch(ctx, live, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write status of Mesh %s: %w", live.Name, err)
	}
	return nil
}

// conditions are Ready, and what it depends on.
func (m *MeshStatus) conditions(ctx context.Context) ([]metav1.Condition, error) {
	served := m.Served()
	gatewayAPI, certManager := served.Find(GatewayAPI), served.Find(CertManager)
	all := []metav1.Condition{
		available(v1alpha1.ConditionGatewayAPIAvailable, gatewayAPI),
		available(v1alpha1.ConditionCertManagerAvailable, certManager),
	}
	for _, c := range all {
		if c.Status == metav1.ConditionFalse {
			return append(all, notReady(v1alpha1.ConditionReconciling, c.Type[:len(c.Type)-len("Available")]+"Missing", c.Message)...), nil
		}
	}
	for _, name := range []string{xdsName, webhooks.Name} {
		problem, err := m.certificateProblem(ctx, name)
		if err != nil {
			return nil, err
		}
		if problem.message != "" {
			return append(all, notReady(problem.condition, problem.reason, problem.message)...), nil
		}
	}
	identity := m.Identity()
	if identity == nil || identity.Phase == waiting {
		return append(all, notReady(v1alpha1.ConditionReconciling, "IdentityPending", whyWaiting(identity))...), nil
	}
	all = append(all, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Serving",
		Message: "Weft serves, and all it needs is there.",
	})
	if identity.Phase != string(pki.Steady) {
		all = append(all, metav1.Condition{
			Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionTrue, Reason: "RootChange",
			Message: fmt.Sprintf("The mesh's root is being changed (%s): see status.identity.waitingFor.", identity.Phase),
		})
	}
	return all, nil
}

func available(condition string, found Found) metav1.Condition {
	if !found.OK() {
		return metav1.Condition{Type: condition, Status: metav1.ConditionFalse, Reason: "Missing", Message: found.Message()}
	}
	return metav1.Condition{Type: condition, Status: metav1.ConditionTrue, Reason: "Installed", Message: found.Message()}
}

// notReady is Ready=False with the condition that tells whether to wait or to act.
func notReady(condition, reason, message string) []metav1.Condition {
	return []metav1.Condition{
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason, Message: message},
		{Type: condition, Status: metav1.ConditionTrue, Reason: reason, Message: message},
	}
}

type problem struct{ condition, reason, message string }

// certificateProblem tells why one of Weft's own certificates is not there; an empty message when
// it is.
func (m *MeshStatus) certificateProblem(ctx context.Context, name string) (problem, error) {
	var cert cmv1.Certificate
	err := m.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: name}, &cert)
	if client.IgnoreNotFound(err) != nil {
		return problem{}, fmt.Errorf("read Certificate %s: %w", name, err)
	}
	at := fmt.Sprintf("Certificate %s/%s", v1alpha1.SystemNamespace, name)
	if err != nil {
		return problem{v1alpha1.ConditionReconciling, "CertificatePending", at + " is being made"}, nil
	}
	pending := problem{v1alpha1.ConditionReconciling, "CertificatePending", at + " waits for cert-manager: see its events, and whether cert-manager runs"}
	for _, c := range cert.Status.Conditions {
		switch {
		case c.Type == cmv1.CertificateConditionReady && c.Status == cmmeta.ConditionTrue:
			return problem{}, nil
		case c.Type == cmv1.CertificateConditionIssuing && c.Status == cmmeta.ConditionFalse && c.Message != "":
			return problem{v1alpha1.ConditionStalled, "CertificateFailed", fmt.Sprintf("%s: %s", at, c.Message)}, nil
		case c.Message != "":
			pending.message = fmt.Sprintf("%s: %s", at, c.Message)
		}
	}
	return pending, nil
}

// tell makes an Event of each part that is missing or that came back, once.
func (m *MeshStatus) tell(ctx context.Context, live *v1alpha1.Mesh, wanted []metav1.Condition) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.said == nil {
		m.said = map[string]metav1.ConditionStatus{}
	}
	for _, c := range wanted[:2] {
		was := m.said[c.Type]
		if was == c.Status || was == "" && c.Status == metav1.ConditionTrue {
			m.said[c.Type] = c.Status
			continue
		}
		about, err := m.about(ctx, live)
		if err != nil {
			return err
		}
		kind := corev1.EventTypeNormal
		if c.Status == metav1.ConditionFalse {
			kind = corev1.EventTypeWarning
		}
		m.Events.Eventf(about, nil, kind, c.Type[:len(c.Type)-len("Available")]+c.Reason, "Watch", "%s", c.Message)
		m.said[c.Type] = c.Status
	}
	return nil
}

// about is what Events are about: the Mesh, the operator, or at least its namespace.
func (m *MeshStatus) about(ctx context.Context, live *v1alpha1.Mesh) (client.Object, error) {
	if live != nil {
		return live, nil
	}
	var operator appsv1.Deployment
	err := m.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "weft-operator"}, &operator)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read Deployment weft-operator: %w", err)
	}
	if err == nil {
		return &operator, nil
	}
	var namespace corev1.Namespace
	if err := m.Get(ctx, client.ObjectKey{Name: v1alpha1.SystemNamespace}, &namespace); err != nil {
		return nil, fmt.Errorf("read Namespace %s: %w", v1alpha1.SystemNamespace, err)
	}
	return &namespace, nil
}
