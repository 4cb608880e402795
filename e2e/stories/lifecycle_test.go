package stories

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/e2e/stage"
)

// TestLifeOfAGateway follows a Gateway from its creation, through a mistake in its parameters, to
// its end.
func TestLifeOfAGateway(t *testing.T) {
	s := stage.New(t, "life")
	backend(t, s, "shop", "drain", "", 1)
	s.Apply(manifest(t, "lifecycle.yaml", "$PARAMETERS", "one-proxy"))
	s.Rollout("shop")
	s.Gateway("life").Answers(time.Minute, "shop.test", "/api", 200)
	s.GatewayShows("life", holds(gwv1.GatewayConditionAccepted), holds(gwv1.GatewayConditionProgrammed))
	s.ListenerShows("life", "http", holds(gwv1.ListenerConditionAccepted), holds(gwv1.ListenerConditionProgrammed),
		holds(gwv1.ListenerConditionResolvedRefs))
	attached(t, s, "life", 1)
	made(t, s)

	s.Apply(manifest(t, "lifecycle.yaml", "$PARAMETERS", "nowhere"))
	s.GatewayShows("life", stage.Condition{Type: string(gwv1.GatewayConditionAccepted), Status: metav1.ConditionFalse,
		Reason: string(gwv1.GatewayReasonInvalidParameters), Message: []string{"nowhere", "spec.infrastructure.parametersRef"}})
	s.Apply(manifest(t, "lifecycle.yaml", "$PARAMETERS", "one-proxy"))
	s.GatewayShows("life", holds(gwv1.GatewayConditionAccepted), holds(gwv1.GatewayConditionProgrammed))

	s.Remove(manifest(t, "lifecycle.yaml", "$PARAMETERS", "one-proxy"))
	s.Until(2*time.Minute, "everything made for the Gateway goes with it", func(ctx context.Context) error { return nothingLeft(ctx, s) })
}

func holds[T ~string](kind T) stage.Condition {
	return stage.Condition{Type: string(kind), Status: metav1.ConditionTrue}
}

func attached(t *testing.T, s *stage.Scene, name string, want int32) {
	t.Helper()
	s.Until(time.Minute, "routes are counted", func(ctx context.Context) error {
		var gateway gwv1.Gateway
		if err := s.Get(ctx, s.Key(name), &gateway); err != nil {
			return err
		}
		if got := gateway.Status.Listeners[0].AttachedRoutes; got != want {
			return fmt.Errorf("attachedRoutes is %d, want %d", got, want)
		}
		return nil
	})
}

// ofGateway are the labels of every object that Weft makes for Gateway life.
var ofGateway = client.MatchingLabels{gwv1.GatewayNameLabelKey: "life"}

// made looks at what Weft made for the Gateway.
func made(t *testing.T, s *stage.Scene) {
	t.Helper()
	ctx, in := t.Context(), client.InNamespace(s.Namespace)
	var deployments appsv1.DeploymentList
	var services corev1.ServiceList
	var budgets policyv1.PodDisruptionBudgetList
	var accounts corev1.ServiceAccountList
	for _, list := range []client.ObjectList{&deployments, &services, &budgets, &accounts} {
		if err := s.List(ctx, list, in, ofGateway); err != nil {
			t.Fatal(err)
		}
	}
	if len(deployments.Items) != 1 || len(services.Items) != 1 || len(budgets.Items) != 1 || len(accounts.Items) != 1 {
		t.Fatalf("%d Deployments, %d Services, %d PodDisruptionBudgets, %d ServiceAccounts; want one of each",
			len(deployments.Items), len(services.Items), len(budgets.Items), len(accounts.Items))
	}
	deployment, service := deployments.Items[0], services.Items[0]
	asked(t, &deployment)
	asked(t, &service)
	asked(t, &budgets.Items[0])
	asked(t, &accounts.Items[0])
	if got := service.Annotations["example.com/by"]; got != "parameters" {
		t.Errorf("the Service's annotation of the parameters is %q", got)
	}
	if got := *deployment.Spec.Replicas; got != 1 {
		t.Errorf("%d replicas, the parameters ask for 1", got)
	}
	hardened(t, deployment.Spec.Template.Spec)
}

// asked looks for what spec.infrastructure asks for, and for the owner.
func asked(t *testing.T, object client.Object) {
	t.Helper()
	name := fmt.Sprintf("%T %s", object, object.GetName())
	if object.GetLabels()["example.com/team"] != "shop" || object.GetAnnotations()["example.com/note"] != "from-the-gateway" {
		t.Errorf("%s lacks labels or annotations of spec.infrastructure: %v %v", name, object.GetLabels(), object.GetAnnotations())
	}
	if owner := metav1.GetControllerOf(object); owner == nil || owner.Kind != "Gateway" || owner.Name != "life" {
		t.Errorf("%s is not owned by the Gateway: %v", name, owner)
	}
}

func hardened(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	for _, c := range pod.Containers {
		sc := c.SecurityContext
		if sc == nil || sc.ReadOnlyRootFilesystem == nil || !*sc.ReadOnlyRootFilesystem || sc.Capabilities == nil ||
			len(sc.Capabilities.Drop) != 1 || len(sc.Capabilities.Add) != 0 {
			t.Errorf("container %s is not hardened: %v", c.Name, sc)
		}
		if c.Image != "envoyproxy/envoy:distroless-v1.40.0" {
			t.Errorf("container %s runs %s, not the stock Envoy", c.Name, c.Image)
		}
	}
	if pod.SecurityContext == nil || pod.SecurityContext.RunAsNonRoot == nil || !*pod.SecurityContext.RunAsNonRoot {
		t.Error("the pod may run as root")
	}
	if len(pod.TopologySpreadConstraints) == 0 {
		t.Error("the pods are not spread")
	}
}

func nothingLeft(ctx context.Context, s *stage.Scene) error {
	for _, list := range []client.ObjectList{&appsv1.DeploymentList{}, &corev1.ServiceList{}, &corev1.PodList{},
		&policyv1.PodDisruptionBudgetList{}, &corev1.ServiceAccountList{}, &corev1.ConfigMapList{}} {
		if err := s.List(ctx, list, client.InNamespace(s.Namespace), ofGateway); err != nil {
			return err
		}
		if n := meta.LenList(list); n > 0 {
			return fmt.Errorf("%d objects of %T are left", n, list)
		}
	}
	return nil
}
