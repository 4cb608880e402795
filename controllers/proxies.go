package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/mesh"
)

// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gateways;gatewayclasses,verbs=get;list;watch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gateways/finalizers,verbs=update
// +kubebuilder:rbac:groups=mesh.weft.dev,resources=meshes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=configmaps;serviceaccounts;services,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Proxies makes the objects that run Envoy for each Gateway whose class is Weft's, and deletes
// them when they are no longer wanted. Deleting a Gateway leaves that to garbage collection.
type Proxies struct {
	client.Client
	Events events.EventRecorder
	Now    func() time.Time
	// SetPorts are the ports that the ListenerSets of a Gateway ask for; not known: not yet.
	SetPorts func(gateway string) (ports []gateway.Port, known bool)
}

// Reconcile makes what one Gateway needs. When that is not known, because its class is missing,
// its parameters are invalid, its ListenerSets are not read or there are no roots yet, what is there stays as it is: the
// Gateway's conditions say what is wrong.
func (p *Proxies) Reconcile(ctx context.Context, at ctrl.Request) (ctrl.Result, error) {
	g, class := &gwv1.Gateway{}, &gwv1.GatewayClass{}
	if err := p.Get(ctx, at.NamespacedName, g); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	err := p.Get(ctx, client.ObjectKey{Name: string(g.Spec.GatewayClassName)}, class)
	if g.DeletionTimestamp != nil || err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if class.Spec.ControllerName != mesh.ControllerName {
		return ctrl.Result{}, p.prune(ctx, g, nil)
	}
	in, ok, err := p.input(ctx, g, class)
	if !ok || err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, p.keep(ctx, in)
}

func (p *Proxies) keep(ctx context.Context, in gateway.Input) error {
	objects, problem := gateway.Objects(in)
	if problem != "" {
		return nil
	}
	for _, wanted := range objects {
		if err := p.ensure(ctx, in.Gateway, wanted); err != nil {
			return err
		}
	}
	return p.prune(ctx, in.Gateway, objects)
}

// ensure applies one object, unless something that is not this Gateway's has its name.
func (p *Proxies) ensure(ctx context.Context, g *gwv1.Gateway, wanted *unstructured.Unstructured) error {
	live, err := liveOf(ctx, p.Client, wanted)
	if err != nil {
		return err
	}
	if live != nil && !metav1.IsControlledBy(live, g) {
		p.warn(g, "NameTaken", "%s %s is needed for this Gateway but was not made for it: rename the Gateway, or delete that object", wanted.GetKind(), wanted.GetName())
		return fmt.Errorf("%s %s/%s is not Gateway %s's", wanted.GetKind(), g.Namespace, wanted.GetName(), g.Name)
	}
	err = applyOver(ctx, p.Client, live, wanted)
	if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
		p.warn(g, "ApplyRefused", "The API server refuses what this Gateway needs: %v", err)
	}
	return err
}

func (p *Proxies) warn(g *gwv1.Gateway, reason, note string, args ...any) {
	p.Events.Eventf(g, nil, corev1.EventTypeWarning, reason, "Apply", note, args...)
}

// owned are lists of the kinds that Objects makes.
func owned() []client.ObjectList {
	return []client.ObjectList{
		&policyv1.PodDisruptionBudgetList{}, &corev1.ServiceList{}, &appsv1.DeploymentList{},
		&corev1.ConfigMapList{}, &corev1.ServiceAccountList{},
	}
}

// prune deletes what was made for g and is not wanted.
func (p *Proxies) prune(ctx context.Context, g *gwv1.Gateway, wanted []*unstructured.Unstructured) error {
	keep := map[string]bool{}
	for _, w := range wanted {
		keep[w.GetKind()+"/"+w.GetName()] = true
	}
	var failed []error
	for _, list := range owned() {
		found, err := p.madeFor(ctx, g, list)
		failed = append(failed, err)
		for _, obj := range found {
			kind, err := p.GroupVersionKindFor(obj)
			if err == nil && !keep[kind.Kind+"/"+obj.GetName()] {
				err = client.IgnoreNotFound(p.Delete(ctx, obj, client.Preconditions{UID: new(obj.GetUID())}))
			}
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// input gathers what the objects of g depend on; not ok when that is not known yet or is invalid.
func (p *Proxies) input(ctx context.Context, g *gwv1.Gateway, class *gwv1.GatewayClass) (in gateway.Input, ok bool, err error) {
	ports, known := p.SetPorts(keyOf(g))
	if !known {
		return in, false, nil
	}
	params, ok, err := p.parameters(ctx, g, class)
	if !ok || err != nil {
		return in, false, err
	}
	settings := &v1alpha1.Mesh{}
	if err := p.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, settings); client.IgnoreNotFound(err) != nil {
		return in, false, fmt.Errorf("read mesh %s: %w", v1alpha1.MeshName, err)
	}
	roots, err := p.roots(ctx, g)
	if err != nil || len(roots) == 0 {
		return in, false, err
	}
	in = gateway.Input{Gateway: g, SetPorts: ports, Defaults: settings.Spec.Gateways, Parameters: params, Roots: roots}
	limits, problem := gateway.LimitsOf(in)
	if problem != "" {
		return in, false, nil
	}
	in.Envoy, err = envoyFor(g, gateway.Runtime(params), limits)
	return in, err == nil, err
}

// parameters of the class come first, so that those of the Gateway win.
func (p *Proxies) parameters(ctx context.Context, g *gwv1.Gateway, class *gwv1.GatewayClass) (params []gateway.Parameters, ok bool, err error) {
	for _, ref := range gateway.ParameterRefs(g, class) {
		if !ref.ConfigMap {
			return nil, false, nil
		}
		cm := &corev1.ConfigMap{}
		if err := p.Get(ctx, ref.NamespacedName, cm); err != nil {
			return nil, false, client.IgnoreNotFound(err)
		}
		one, problem := gateway.ParseParameters(cm)
		if problem != "" {
			return nil, false, nil
		}
		params = append(params, one)
	}
	return params, true, nil
}

// roots are those of the xDS server's certificate now, those of Weft's own authority, which may
// have been renewed ahead of it, and those that this Gateway's proxies know already.
func (p *Proxies) roots(ctx context.Context, g *gwv1.Gateway) ([]byte, error) {
	serving, authority, err := authorities(ctx, p.Client)
	if err != nil || len(serving.Data) == 0 {
		return nil, err
	}
	known := &corev1.ConfigMap{}
	at := client.ObjectKey{Namespace: g.Namespace, Name: gateway.Name(g)}
	if err := p.Get(ctx, at, known); err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read ConfigMap %s: %w", at, err)
	}
	if len(serving.Data[gateway.RootsKey]) == 0 {
		p.warn(g, "NoRoots", "Secret %s/%s has no %s, so that proxies could not verify the operator: name an issuer in the Mesh that publishes its authority", v1alpha1.SystemNamespace, XDSSecret, gateway.RootsKey)
	}
	return gateway.Roots(p.Now(), serving.Data[gateway.RootsKey], authority.Data[corev1.TLSCertKey], []byte(known.Data[gateway.RootsKey])), nil
}
