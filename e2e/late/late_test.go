// Package late installs Weft before the things that it stands on.
//
// The story deletes the CRDs of Gateway API and of cert-manager, and with them every object of
// their kinds: it plays on the local cluster only.
package late

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/e2e/stage"
)

const (
	gatewayAPI  = "gateway.networking.k8s.io"
	gatewayAPIX = "gateway.networking.x-k8s.io" // experimental kinds
	certManager = "cert-manager.io"
	patience    = 3 * time.Minute
)

// TestWhatWeftNeedsArrivesLate: Weft comes first and says what it misses, in the Mesh and by Events.
// cert-manager arrives, then Gateway API, and a Gateway serves without a restart of the operator.
func TestWhatWeftNeedsArrivesLate(t *testing.T) {
	s := open(t)
	emptyCluster(t, s)
	must(t, s.ApplyWeft(t.Context()))
	until(t, "Mesh default is created", func(ctx context.Context) error {
		return s.Apply(ctx, "", "{apiVersion: mesh.weft.dev/v1alpha1, kind: Mesh, metadata: {name: default}}")
	})
	shows(t, s, v1alpha1.ConditionGatewayAPIAvailable, metav1.ConditionFalse, "install Gateway API")
	shows(t, s, v1alpha1.ConditionCertManagerAvailable, metav1.ConditionFalse, "install cert-manager")
	shows(t, s, v1alpha1.ConditionReady, metav1.ConditionFalse, "")
	told(t, s, "GatewayAPI")
	told(t, s, "CertManager")

	must(t, files(t, s, s.CertManagerFiles))
	shows(t, s, v1alpha1.ConditionCertManagerAvailable, metav1.ConditionTrue, "")
	shows(t, s, v1alpha1.ConditionReady, metav1.ConditionFalse, "install Gateway API")

	must(t, files(t, s, s.GatewayAPIFiles))
	shows(t, s, v1alpha1.ConditionReady, metav1.ConditionTrue, "")
	restarts := restarts(t, s)
	serves(t, s)
	t.Logf("the operator's containers restarted %d times", restarts)
	if restarts > 0 {
		t.Error("the operator restarted; it must wait for what it misses")
	}
}

func open(t *testing.T) *stage.Stage {
	t.Helper()
	s, err := stage.Open(t.Context())
	must(t, err)
	if !s.Local {
		t.Fatal("this story deletes CRDs and everything of their kinds: unset KUBECONFIG to play it on the local cluster")
	}
	must(t, stage.TakeTurn())
	return s
}

// emptyCluster removes Weft and the CRDs.
func emptyCluster(t *testing.T, s *stage.Stage) {
	t.Helper()
	for _, group := range []string{gatewayAPI, gatewayAPIX, certManager, "acme." + certManager, v1alpha1.GroupVersion.Group} {
		removeCRDs(t, s, group)
	}
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: stage.System}}
	until(t, "namespace "+stage.System+" is gone", func(ctx context.Context) error {
		if err := s.Delete(ctx, system); apierrors.IsNotFound(err) {
			return nil
		}
		return errors.New("it is there")
	})
}

// removeCRDs deletes every CRD of a group and waits until they are gone, with all their objects.
func removeCRDs(t *testing.T, s *stage.Stage, group string) {
	t.Helper()
	until(t, "the CRDs of "+group+" are gone", func(ctx context.Context) error {
		var all apiextensionsv1.CustomResourceDefinitionList
		if err := s.List(ctx, &all); err != nil {
			return err
		}
		left := 0
		for _, crd := range all.Items {
			if crd.Spec.Group != group {
				continue
			}
			left++
			if err := s.Delete(ctx, &crd); client.IgnoreNotFound(err) != nil {
				return err
			}
		}
		if left > 0 {
			return fmt.Errorf("%d are left", left)
		}
		return nil
	})
}

func files(t *testing.T, s *stage.Stage, pattern func(context.Context) (string, error)) error {
	at, err := pattern(t.Context())
	if err != nil {
		return err
	}
	return s.ApplyFiles(t.Context(), at)
}

// shows waits until the Mesh shows a condition whose message holds words.
func shows(t *testing.T, s *stage.Stage, condition string, status metav1.ConditionStatus, words string) {
	t.Helper()
	until(t, fmt.Sprintf("Mesh default shows %s=%s", condition, status), func(ctx context.Context) error {
		var mesh v1alpha1.Mesh
		if err := s.Get(ctx, client.ObjectKey{Name: v1alpha1.MeshName}, &mesh); err != nil {
			return err
		}
		got := meta.FindStatusCondition(mesh.Status.Conditions, condition)
		if got == nil || got.Status != status || !strings.Contains(got.Message, words) {
			return fmt.Errorf("it shows %v", mesh.Status.Conditions)
		}
		return nil
	})
}

// told waits for a Warning Event that names a part.
func told(t *testing.T, s *stage.Stage, part string) {
	t.Helper()
	until(t, "an Event tells of "+part, func(ctx context.Context) error {
		var all eventsv1.EventList
		if err := s.List(ctx, &all); err != nil {
			return err
		}
		for _, event := range all.Items {
			if event.Type == corev1.EventTypeWarning && event.Reason == part+"Missing" && event.Note != "" {
				return nil
			}
		}
		return fmt.Errorf("none of %d does", len(all.Items))
	})
}

func restarts(t *testing.T, s *stage.Stage) (n int32) {
	t.Helper()
	var pods corev1.PodList
	must(t, s.List(t.Context(), &pods, client.InNamespace(stage.System)))
	for _, pod := range pods.Items {
		for _, c := range pod.Status.ContainerStatuses {
			n += c.RestartCount
		}
	}
	return n
}

// serves proves it: a Gateway answers.
func serves(t *testing.T, s *stage.Stage) {
	t.Helper()
	scene := s.Scene(t, "late")
	must(t, s.LoadShop(t.Context()))
	scene.Apply(app)
	scene.Rollout("shop")
	scene.Gateway("front").Answers(time.Minute, "shop.test", "/api", 200)
}

const app = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers: [{name: shop, image: $SHOP_IMAGE, args: [serve]}]
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: weft
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: front}]
  rules: [{backendRefs: [{name: shop, port: 80}]}]
`

func until(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	if err := stage.Until(t.Context(), patience, ask); err != nil {
		t.Fatalf("%s: not within %s: %v", what, patience, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
