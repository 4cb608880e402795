package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/mesh"
)

// statusWorkers write at once. One write takes the API server some 5 ms, so that these could do
// about a thousand in a second: what the client allows itself is less.
const statusWorkers = 8

// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gatewayclasses/status;gateways/status;listenersets/status;httproutes/status;grpcroutes/status;tlsroutes/status;tcproutes/status;udproutes/status;backendtlspolicies/status,verbs=patch
// +kubebuilder:rbac:groups=gateway.networking.x-k8s.io,resources=xbackendtrafficpolicies/status;xmeshes/status,verbs=patch
// +kubebuilder:rbac:groups=mesh.weft.dev,resources=meshpolicies/status,verbs=patch
// +kubebuilder:rbac:groups=specs.smi-spec.io,resources=tcproutes/status;udproutes/status,verbs=patch
// +kubebuilder:rbac:groups=access.smi-spec.io,resources=traffictargets/status,verbs=patch
// +kubebuilder:rbac:groups=split.smi-spec.io,resources=trafficsplits/status,verbs=patch
// +kubebuilder:rbac:groups=specs.smi-spec.io,resources=httproutegroups/status,verbs=patch

// Statuses writes what the core wants said of each object. Only the leader does.
type Statuses struct {
	Client client.Client
	Cache  cache.Cache
	Outbox *cluster.Outbox[mesh.Status]
}

// NeedLeaderElection is true: one replica writes.
func (s *Statuses) NeedLeaderElection() bool { return true }

// Start writes statuses until ctx ends.
func (s *Statuses) Start(ctx context.Context) error {
	w := &writer[mesh.Status]{
		outbox:  s.Outbox,
		of:      func(st mesh.Status) subject { return subject{st.Kind, st.Key} },
		write:   s.write,
		workers: statusWorkers,
	}
	w.follow = func(ctx context.Context, kind string) error {
		return follow(ctx, s.Cache, statusKinds[kind].object(), func(obj any) { w.again(subject{kind, keyOf(obj)}) })
	}
	return w.run(ctx)
}

// follow calls again for each object of a kind that comes or changes.
func follow(ctx context.Context, c cache.Cache, kind client.Object, again func(obj any)) error {
	informer, err := c.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    again,
		UpdateFunc: func(_, obj any) { again(obj) },
		DeleteFunc: again,
	})
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	return nil
}

// write patches the status of one object, unless it is as wanted already. It is done with an
// object that is gone and of which nothing is wanted.
func (s *Statuses) write(ctx context.Context, at subject, wanted mesh.Status) (done bool, err error) {
	kind := statusKinds[at.kind]
	live := kind.object()
	err = s.Client.Get(ctx, at.name(), live)
	if apierrors.IsNotFound(err) {
		return wanted.Value == nil, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s %s: %w", at.kind, at.key, err)
	}
	before := live.DeepCopyObject().(client.Object)
	if !kind.settle(live, wanted.Value, metav1.Now()) {
		return false, nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := s.Client.Status().Patch(ctx, live, patch); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("write status of %s %s: %w", at.kind, at.key, err)
	}
	return false, nil
}

// statusKinds are the kinds whose status Weft writes.
var statusKinds = map[string]statusKind{
	"GatewayClass":     statusOf(func(c *gwv1.GatewayClass) *gwv1.GatewayClassStatus { return &c.Status }, gatewayClassStatus, oneWriter),
	"Gateway":          statusOf(func(g *gwv1.Gateway) *gwv1.GatewayStatus { return &g.Status }, gatewayStatus, oneWriter),
	"ListenerSet":      statusOf(func(s *gwv1.ListenerSet) *gwv1.ListenerSetStatus { return &s.Status }, listenerSetStatus, oneWriter),
	"HTTPRoute":        statusOf(func(r *gwv1.HTTPRoute) *gwv1.HTTPRouteStatus { return &r.Status }, routeStatus, manyWriters),
	"GRPCRoute":        statusOf(func(r *gwv1.GRPCRoute) *gwv1.GRPCRouteStatus { return &r.Status }, routeStatus, manyWriters),
	"TLSRoute":         statusOf(func(r *gwv1.TLSRoute) *gwv1.TLSRouteStatus { return &r.Status }, routeStatus, manyWriters),
	"TCPRoute":         statusOf(func(r *gwv1.TCPRoute) *gwv1.TCPRouteStatus { return &r.Status }, routeStatus, manyWriters),
	"UDPRoute":         statusOf(func(r *gwv1.UDPRoute) *gwv1.UDPRouteStatus { return &r.Status }, routeStatus, manyWriters),
	"BackendTLSPolicy": statusOf(func(p *gwv1.BackendTLSPolicy) *gwv1.PolicyStatus { return &p.Status }, policyStatus, manyWriters),
	"TrafficTarget":    statusOf(func(t *access.TrafficTarget) *access.TrafficTargetStatus { return &t.Status }, trafficTargetStatus, oneWriter),
	"TrafficSplit":     statusOf(func(t *split.TrafficSplit) *split.TrafficSplitStatus { return &t.Status }, trafficSplitStatus, oneWriter),
	mesh.SMITCPRoute:   statusOf(func(r *specs.TCPRoute) *specs.Status { return &r.Status }, specsStatus, oneWriter),
	mesh.SMIUDPRoute:   statusOf(func(r *specs.UDPRoute) *specs.Status { return &r.Status }, specsStatus, oneWriter),
	"HTTPRouteGroup":   statusOf(func(g *specs.HTTPRouteGroup) *specs.Status { return &g.Status }, specsStatus, oneWriter),
	"MeshPolicy":       statusOf(func(p *v1alpha1.MeshPolicy) *v1alpha1.MeshPolicyStatus { return &p.Status }, meshPolicyStatus, oneWriter),

	"XBackendTrafficPolicy": statusOf(func(p *gwx.XBackendTrafficPolicy) *gwv1.PolicyStatus { return &p.Status }, policyStatus, manyWriters),
	"XMesh":                 statusOf(func(m *gwx.XMesh) *gwx.MeshStatus { return &m.Status }, xmeshStatus, oneWriter),
}

// A status has one writer, or several: then ours is taken out of it when none is wanted, while a
// status with one writer that is not wanted is somebody else's.
const (
	oneWriter   = false
	manyWriters = true
)

// statusKind knows how the status of one kind is merged.
type statusKind struct {
	object func() client.Object
	// settle puts what is wanted into obj's status and tells whether that changed it.
	settle func(obj client.Object, wanted any, now metav1.Time) (changed bool)
}

func statusOf[T any, P object[T], S any](status func(P) *S, merge func(live, wanted S, now metav1.Time) S, shared bool) statusKind {
	return statusKind{
		object: func() client.Object { return P(new(T)) },
		settle: func(obj client.Object, wanted any, now metav1.Time) bool {
			live := status(obj.(P))
			want, ok := wanted.(S)
			if !ok && !shared {
				return false
			}
			merged := merge(*live, want, now)
			changed := !equality.Semantic.DeepEqual(*live, merged)
			*live = merged
			return changed
		},
	}
}
