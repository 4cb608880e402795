package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
)

// Secrets in weft-system that hold what proxies must trust: the xDS server's certificate, and
// the authority that Weft makes when the Mesh names no issuer.
const (
	XDSSecret = "weft-xds-tls"
	CASecret  = "weft-ca"
)

// SetupProxies starts Proxies on the leader. The kinds of Gateway API must be there.
func SetupProxies(mgr ctrl.Manager, sets *SetPorts) error {
	p := &Proxies{Client: mgr.GetClient(), Events: mgr.GetEventRecorder("weft-proxies"), Now: time.Now, SetPorts: sets.Of}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("proxies").
		WithOptions(retrying()).
		For(&gwv1.Gateway{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&corev1.ServiceAccount{}).
		Owns(&policyv1.PodDisruptionBudget{}).
		Watches(&gwv1.GatewayClass{}, handler.EnqueueRequestsFromMapFunc(p.ofClass), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Mesh{}, handler.EnqueueRequestsFromMapFunc(p.all), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(p.ofParameters)).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(p.all), builder.WithPredicates(predicate.NewPredicateFuncs(holdsRoots))).
		WatchesRawSource(source.Func(sets.start)).
		Complete(p)
	if err != nil {
		return fmt.Errorf("start the controller of proxies: %w", err)
	}
	return nil
}

func holdsRoots(o client.Object) bool {
	return o.GetNamespace() == v1alpha1.SystemNamespace && (o.GetName() == XDSSecret || o.GetName() == CASecret)
}

func (p *Proxies) all(ctx context.Context, _ client.Object) []reconcile.Request {
	return p.gateways(ctx, func(*gwv1.Gateway) bool { return true })
}

func (p *Proxies) ofClass(ctx context.Context, class client.Object) []reconcile.Request {
	return p.gateways(ctx, func(g *gwv1.Gateway) bool { return string(g.Spec.GatewayClassName) == class.GetName() })
}

// ofParameters are the Gateways that a ConfigMap holds parameters of, also by their class.
func (p *Proxies) ofParameters(ctx context.Context, cm client.Object) []reconcile.Request {
	return p.gateways(ctx, func(g *gwv1.Gateway) bool {
		class := &gwv1.GatewayClass{}
		if err := p.Get(ctx, client.ObjectKey{Name: string(g.Spec.GatewayClassName)}, class); err != nil {
			return false
		}
		return slices.ContainsFunc(gateway.ParameterRefs(g, class), func(ref gateway.ParameterRef) bool {
			return ref.NamespacedName == client.ObjectKeyFromObject(cm)
		})
	})
}

func (p *Proxies) gateways(ctx context.Context, affected func(*gwv1.Gateway) bool) (found []reconcile.Request) {
	var list gwv1.GatewayList
	if err := p.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "List Gateways")
		return nil
	}
	for i := range list.Items {
		if g := &list.Items[i]; affected(g) {
			found = append(found, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(g)})
		}
	}
	return found
}

// madeFor are the objects of list's kind that g owns and Weft made.
func (p *Proxies) madeFor(ctx context.Context, g *gwv1.Gateway, list client.ObjectList) (found []client.Object, err error) {
	err = p.List(ctx, list, client.InNamespace(g.Namespace), client.MatchingLabels{gateway.ManagedByLabel: gateway.ManagedBy})
	if err != nil {
		return nil, fmt.Errorf("list what was made for Gateway %s/%s: %w", g.Namespace, g.Name, err)
	}
	items, err := meta.ExtractList(list)
	for _, item := range items {
		if obj, ok := item.(client.Object); ok && metav1.IsControlledBy(obj, g) {
			found = append(found, obj)
		}
	}
	return found, err
}
