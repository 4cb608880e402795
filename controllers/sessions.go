package controllers

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/policy/oidc"
)

// +kubebuilder:rbac:groups="",namespace=weft-system,resources=secrets,verbs=create

// sessionLabel marks the Secrets of weft-system by which sessions of logins are sealed.
const sessionLabel = "oidc-session"

// seal makes what the sessions of a policy's login are sealed by, if it is not there. It is never changed, for sessions
// would end; who wants that deletes the Secret.
func (k *KeySets) seal(ctx context.Context, p *v1alpha1.MeshPolicy) error {
	if p.Spec.OIDC == nil {
		return nil
	}
	at := systemName(sealOf(p))
	var there corev1.Secret
	if err := k.Get(ctx, at, &there); !apierrors.IsNotFound(err) {
		return err // nil, as a rule
	}
	random := make([]byte, oidc.SessionBytes/2)
	if _, err := rand.Read(random); err != nil {
		return fmt.Errorf("make Secret %s: %w", at, err)
	}
	err := k.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: at.Namespace, Name: at.Name,
			Labels:      map[string]string{gateway.ManagedByLabel: gateway.ManagedBy, keptLabel: sessionLabel},
			Annotations: map[string]string{"mesh.weft.dev/source": "MeshPolicy " + client.ObjectKeyFromObject(p).String()},
		},
		Type:      v1alpha1.SecretTypeOIDCSession,
		Immutable: new(true),
		Data:      map[string][]byte{oidc.SessionKey: []byte(hex.EncodeToString(random))},
	})
	if err != nil && !apierrors.IsAlreadyExists(err) { // in the API server, and not in the cache yet
		return fmt.Errorf("make Secret %s: %w", at, err)
	}
	return nil
}

func sealOf(p *v1alpha1.MeshPolicy) string {
	return oidc.Kept(client.ObjectKeyFromObject(p).String(), p.Spec.OIDC)
}
