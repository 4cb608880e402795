package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/download"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Modules keeps each module that policies name in a ConfigMap of weft-system, as it was last when OPA could read it: an
// edit that it cannot read changes nothing, also where the operator starts after it. What is elsewhere it fetches, again and
// again until it is there. Only the leader does.
type Modules struct {
	client.Client
	Get  func(ctx context.Context, url, digest string, most int64) (string, error) // by HTTP
	kept perPolicy
}

// SetupModules starts Modules on the leader.
func SetupModules(mgr ctrl.Manager) error {
	m := &Modules{Client: mgr.GetClient(), Get: download.New(nil).Get}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("modules").
		WithOptions(retrying()).
		For(&v1alpha1.MeshPolicy{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(m.namedBy)).
		Complete(m)
	if err != nil {
		return fmt.Errorf("start the controller of modules: %w", err)
	}
	return nil
}

// namedBy are the policies that name a ConfigMap's module.
func (m *Modules) namedBy(ctx context.Context, o client.Object) (out []reconcile.Request) {
	cm, is := o.(*corev1.ConfigMap)
	if !is || !hasModule(cm) {
		return nil
	}
	var all v1alpha1.MeshPolicyList
	if err := m.List(ctx, &all, client.InNamespace(cm.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list the policies that name a module", "configMap", client.ObjectKeyFromObject(cm))
	}
	for i := range all.Items {
		if rego := moduleOf(&all.Items[i]); rego != nil && rego.ConfigMapRef != nil && rego.ConfigMapRef.Name == cm.Name {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return out
}

// Reconcile keeps the module of one policy, if it can be read.
func (m *Modules) Reconcile(ctx context.Context, at ctrl.Request) (ctrl.Result, error) {
	var p v1alpha1.MeshPolicy
	if err := m.Client.Get(ctx, at.NamespacedName, &p); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("read MeshPolicy %s: %w", at, err)
	}
	var names []string
	rego := moduleOf(&p) // none of one that is gone
	if rego != nil {
		names = []string{keptModule(&p, *rego)}
	}
	var failed []error
	if m.kept.differ(at.String(), names) {
		failed = append(failed, m.sweep(ctx))
	}
	switch {
	case rego == nil:
	case rego.ConfigMapRef != nil:
		failed = append(failed, m.keep(ctx, p.Namespace, *rego.ConfigMapRef))
	default:
		failed = append(failed, m.fetch(ctx, names[0], room.Remote{URL: rego.Remote.URL, SHA256: rego.Remote.SHA256}))
	}
	return ctrl.Result{}, errors.Join(failed...)
}

// keptModule is the name of the ConfigMap in which a policy's module is kept.
func keptModule(p *v1alpha1.MeshPolicy, rego v1alpha1.AuthorizationRego) string {
	if rego.ConfigMapRef != nil {
		return authorization.Before(p.Namespace, *rego.ConfigMapRef)
	}
	return authorization.Fetched(p.Namespace, p.Name)
}

func (m *Modules) keep(ctx context.Context, namespace string, ref v1alpha1.RegoRef) error {
	var cm corev1.ConfigMap
	at := client.ObjectKey{Namespace: namespace, Name: ref.Name}
	if err := m.Client.Get(ctx, at, &cm); err != nil {
		return client.IgnoreNotFound(err)
	}
	text := cm.Data[ref.Key]
	if opa.CheckModule(text) != "" {
		return nil
	}
	source := fmt.Sprintf("ConfigMap %s, %s", at, ref.Key)
	return apply(ctx, m.Client, keptIn(authorization.Before(namespace, ref), keptModules, source, map[string]string{room.KeptText: text}))
}

// fetch keeps what is elsewhere, or why it is not to be had beside what was there before. The error has it tried again.
func (m *Modules) fetch(ctx context.Context, name string, from room.Remote) error {
	var before corev1.ConfigMap
	if err := m.Client.Get(ctx, systemName(name), &before); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read ConfigMap %s: %w", name, err)
	}
	if before.Data[room.KeptDigest] == from.SHA256 && before.Data[room.KeptText] != "" {
		return nil
	}
	text, err := m.Get(ctx, from.URL, from.SHA256, opa.MaxModule)
	data := map[string]string{room.KeptText: text, room.KeptDigest: from.SHA256}
	if problem := opa.CheckModule(text); err != nil || problem != "" {
		data = map[string]string{room.KeptText: before.Data[room.KeptText], room.KeptDigest: before.Data[room.KeptDigest], room.KeptWanted: from.Key(), room.KeptProblem: problem}
		if err != nil {
			data[room.KeptProblem] = err.Error()
		}
		if err == nil || errors.As(err, new(download.Mismatch)) {
			data[room.KeptBad] = "true"
		}
	}
	return errors.Join(err, apply(ctx, m.Client, keptIn(name, keptModules, from.URL, data)))
}

// sweep deletes what is kept of modules that no policy names.
func (m *Modules) sweep(ctx context.Context) error {
	var kept corev1.ConfigMapList
	var all v1alpha1.MeshPolicyList
	if err := errors.Join(m.List(ctx, &kept, ours(keptModules)...), m.List(ctx, &all, client.UnsafeDisableDeepCopy)); err != nil {
		return fmt.Errorf("list what is kept of modules: %w", err)
	}
	wanted := map[string]bool{}
	for i := range all.Items {
		if rego := moduleOf(&all.Items[i]); rego != nil {
			wanted[keptModule(&all.Items[i], *rego)] = true
		}
	}
	var failed []error
	for i := range kept.Items {
		if cm := &kept.Items[i]; !wanted[cm.Name] {
			failed = append(failed, drop(ctx, m.Client, cm))
		}
	}
	return errors.Join(failed...)
}

// moduleOf is where a policy's module is; nil: it has none.
func moduleOf(p *v1alpha1.MeshPolicy) *v1alpha1.AuthorizationRego {
	if p.Spec.Authorization == nil {
		return nil
	}
	return p.Spec.Authorization.Rego
}

func hasModule(cm *corev1.ConfigMap) bool {
	for key := range cm.Data {
		if strings.HasSuffix(key, opa.ModuleSuffix) {
			return true
		}
	}
	return false
}
