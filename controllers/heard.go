package controllers

import (
	"context"
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
)

// heard says, where the Mesh has proxies tell what they decide, whether weft authz is there to hear it.
func (m *MeshStatus) heard(ctx context.Context, live *v1alpha1.Mesh) ([]metav1.Condition, error) {
	if !live.Spec.DecisionLog.Told() {
		return nil, nil
	}
	var slices discoveryv1.EndpointSliceList
	if err := m.List(ctx, &slices, client.InNamespace(v1alpha1.SystemNamespace), client.MatchingLabels{discoveryv1.LabelServiceName: mesh.AuthzService}); err != nil {
		return nil, fmt.Errorf("list the endpoints of Service %s: %w", mesh.AuthzService, err)
	}
	for _, s := range slices.Items {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				return []metav1.Condition{{
					Type: v1alpha1.ConditionDecisionsHeard, Status: metav1.ConditionTrue, Reason: "Hearing",
					Message: "weft authz hears what proxies decide.",
				}}, nil
			}
		}
	}
	return []metav1.Condition{{
		Type: v1alpha1.ConditionDecisionsHeard, Status: metav1.ConditionFalse, Reason: "NobodyHears",
		Message: "spec.decisionLog has proxies tell what they decide, and no pod of weft authz in weft-system is ready to hear it: install it with dist/authz.yaml, or look at its pod. Until then decisions are made as ever, and none is recorded.",
	}}, nil
}

// ofAuthz has the Mesh looked at when a pod of weft authz comes or goes.
func ofAuthz() (handler.EventHandler, builder.WatchesOption) {
	about := reconcile.Request{NamespacedName: types.NamespacedName{Name: v1alpha1.MeshName}}
	is := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetNamespace() == v1alpha1.SystemNamespace && o.GetLabels()[discoveryv1.LabelServiceName] == mesh.AuthzService
	})
	return handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request { return []reconcile.Request{about} }), builder.WithPredicates(is)
}
