package controllers

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/mesh"
)

// ClassName is the GatewayClass that Weft makes.
const ClassName = "weft"

const (
	classDescription = "Envoy proxies, made and configured by Weft"
	classRetry       = 5 * time.Second
)

// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gatewayclasses,verbs=create

// Class makes the GatewayClass, once, if there is none: from then on it is the user's to edit.
// The leader does, when it starts or when the Gateway API appears.
type Class struct{ client.Client }

// NeedLeaderElection is true: one replica writes.
func (Class) NeedLeaderElection() bool { return true }

// Start makes the class, and tries until that is done.
func (c Class) Start(ctx context.Context) error {
	return wait.PollUntilContextCancel(ctx, classRetry, true, func(ctx context.Context) (done bool, err error) {
		class := &gwv1.GatewayClass{
			ObjectMeta: metav1.ObjectMeta{Name: ClassName, Labels: map[string]string{gateway.ManagedByLabel: gateway.ManagedBy}},
			Spec:       gwv1.GatewayClassSpec{ControllerName: mesh.ControllerName, Description: new(classDescription)},
		}
		err = c.Create(ctx, class, fieldManager)
		if err != nil && !apierrors.IsAlreadyExists(err) {
			log.FromContext(ctx).Error(err, "GatewayClass not created", "name", ClassName)
			return false, nil
		}
		return true, nil
	})
}
