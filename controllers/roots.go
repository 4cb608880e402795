package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// +kubebuilder:rbac:groups="",resources=namespaces;pods;secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch;delete

// Roots keeps, in each namespace in the mesh, the ConfigMap by which the proxies beside its pods know
// the operator. It stays as long as there are such pods. The one in weft-system is what the others are
// copies of: it holds earlier authorities too, until they expire.
type Roots struct {
	client.Client
	Now func() time.Time
}

// SetupRoots starts Roots on the leader.
func SetupRoots(mgr ctrl.Manager) error {
	r := &Roots{Client: mgr.GetClient(), Now: time.Now}
	named := predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetName() == sidecar.RootsConfigMap })
	err := ctrl.NewControllerManagedBy(mgr).
		Named("roots").
		WithOptions(retrying()).
		For(&corev1.Namespace{}, builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.of), builder.WithPredicates(named)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(inNamespace), builder.WithPredicates(comesOrGoes)).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.all), builder.WithPredicates(predicate.NewPredicateFuncs(holdsRoots))).
		Complete(r)
	if err != nil {
		return fmt.Errorf("start the controller of roots: %w", err)
	}
	return nil
}

// comesOrGoes passes a pod with a proxy at its beginning and its end.
var comesOrGoes = predicate.Funcs{
	CreateFunc:  func(e event.CreateEvent) bool { return meshed(e.Object) },
	UpdateFunc:  func(event.UpdateEvent) bool { return false },
	DeleteFunc:  func(e event.DeleteEvent) bool { return meshed(e.Object) },
	GenericFunc: func(event.GenericEvent) bool { return false },
}

func meshed(o client.Object) bool {
	pod, ok := o.(*corev1.Pod)
	return ok && sidecar.Meshed(pod)
}

func inNamespace(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: o.GetNamespace()}}}
}

// of are the namespaces that a ConfigMap concerns: all, if it is the one that others are copies of.
func (r *Roots) of(ctx context.Context, cm client.Object) []reconcile.Request {
	if cm.GetNamespace() == v1alpha1.SystemNamespace {
		return r.all(ctx, cm)
	}
	return inNamespace(ctx, cm)
}

func (r *Roots) all(ctx context.Context, _ client.Object) (all []reconcile.Request) {
	var list corev1.NamespaceList
	if err := r.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "List Namespaces")
		return nil
	}
	for i := range list.Items {
		all = append(all, reconcile.Request{NamespacedName: client.ObjectKey{Name: list.Items[i].Name}})
	}
	return all
}

// Reconcile sees to one namespace.
func (r *Roots) Reconcile(ctx context.Context, at ctrl.Request) (ctrl.Result, error) {
	var ns corev1.Namespace
	if err := r.Get(ctx, at.NamespacedName, &ns); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if ns.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	wanted, err := r.wanted(ctx, &ns)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !wanted {
		return ctrl.Result{}, r.remove(ctx, ns.Name)
	}
	roots, err := r.roots(ctx)
	if err != nil || len(roots) == 0 || ns.Name == v1alpha1.SystemNamespace {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, apply(ctx, r.Client, rootsIn(ns.Name, roots))
}

func (r *Roots) wanted(ctx context.Context, ns *corev1.Namespace) (bool, error) {
	if ns.Name == v1alpha1.SystemNamespace || ns.Labels[sidecar.InjectLabel] == sidecar.Enabled {
		return true, nil
	}
	var pods corev1.PodList
	if err := r.List(ctx, &pods, client.InNamespace(ns.Name), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("list pods of namespace %s: %w", ns.Name, err)
	}
	for i := range pods.Items {
		if sidecar.Meshed(&pods.Items[i]) {
			return true, nil
		}
	}
	return false, nil
}

// remove deletes the ConfigMap, if it is ours.
func (r *Roots) remove(ctx context.Context, namespace string) error {
	var cm corev1.ConfigMap
	err := r.Get(ctx, client.ObjectKey{Namespace: namespace, Name: sidecar.RootsConfigMap}, &cm)
	if err != nil || cm.Labels[gateway.ManagedByLabel] != gateway.ManagedBy {
		return client.IgnoreNotFound(err)
	}
	err = r.Delete(ctx, &cm, client.Preconditions{UID: new(cm.UID), ResourceVersion: new(cm.ResourceVersion)})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete ConfigMap %s/%s: %w", namespace, cm.Name, err)
	}
	return nil
}

// roots are the authorities of now, and those that proxies were told of before; none while there is
// no certificate of the xDS server. They are put down in weft-system first.
func (r *Roots) roots(ctx context.Context) ([]byte, error) {
	serving, authority, err := authorities(ctx, r.Client)
	if err != nil || len(serving.Data) == 0 {
		return nil, err
	}
	if len(serving.Data[gateway.RootsKey]) == 0 {
		return nil, fmt.Errorf("read roots: Secret %s has no %s, so that proxies could not verify the operator: name an issuer in the Mesh that publishes its authority", systemName(XDSSecret), gateway.RootsKey)
	}
	var before corev1.ConfigMap
	if err := r.Get(ctx, systemName(sidecar.RootsConfigMap), &before); err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read ConfigMap %s: %w", systemName(sidecar.RootsConfigMap), err)
	}
	roots := gateway.Roots(r.Now(), serving.Data[gateway.RootsKey], authority.Data[corev1.TLSCertKey], []byte(before.Data[sidecar.RootsKey]))
	return roots, apply(ctx, r.Client, rootsIn(v1alpha1.SystemNamespace, roots))
}

// authorities are the Secrets with the xDS server's certificate, and that of Weft's own authority,
// which may have been renewed ahead of it. One that is missing is empty.
func authorities(ctx context.Context, c client.Reader) (serving, authority *corev1.Secret, err error) {
	serving, authority = &corev1.Secret{}, &corev1.Secret{}
	for name, obj := range map[string]*corev1.Secret{XDSSecret: serving, CASecret: authority} {
		if err := c.Get(ctx, systemName(name), obj); err != nil && !apierrors.IsNotFound(err) {
			return nil, nil, fmt.Errorf("read Secret %s: %w", systemName(name), err)
		}
	}
	return serving, authority, nil
}

func rootsIn(namespace string, roots []byte) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: sidecar.RootsConfigMap, Labels: map[string]string{gateway.ManagedByLabel: gateway.ManagedBy},
		},
		Data: map[string]string{sidecar.RootsKey: string(roots)},
	}
}
