package controllers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/webhooks"
)

const canary = "canary"

// TestRevisions has the API server ask the operator without a revision, which answers, and that of the
// revision canary, which does not: no pod of it is made, and all others are.
func TestRevisions(t *testing.T) {
	s := newInjectorStage(t)
	absent := int(porttest.Free(t, 1)[0])
	s.registerInjector(canary, absent, nil)
	trial := maps.Clone(inMesh)
	trial[sidecar.RevisionLabel] = canary
	create(t, s.Client, namespaceLabelled("trial", trial), namespaceLabelled("quiet", map[string]string{sidecar.RevisionLabel: canary}))
	of := func(revision string) func(*corev1.Pod) { return labelled(sidecar.RevisionLabel, revision) }
	opposes := labelled(sidecar.InjectLabel, sidecar.Disabled)

	const other, nobody = "canary's operator", "nobody"
	asked := func(ctx context.Context, p *corev1.Pod) string {
		err := s.Create(ctx, p, client.DryRunAll)
		switch {
		case err == nil && sidecar.Injected(p):
			return "this operator"
		case err == nil:
			return nobody
		case strings.Contains(err.Error(), fmt.Sprintf("127.0.0.1:%d", absent)):
			return other
		}
		return err.Error()
	}
	var first string
	eventually(t, "the configuration of canary", func(ctx context.Context) bool {
		first = asked(ctx, podIn("trial", "first"))
		return first == other
	}, func() string { return "asked: " + first })
	for want, pods := range map[string][]*corev1.Pod{
		"this operator": {podIn("shop", "a"), podIn("plain", "a", asks), podIn("trial", "a", of("")), podIn("quiet", "a", asks, of(""))},
		other:           {podIn("trial", "a"), podIn("shop", "a", of(canary)), podIn("plain", "a", asks, of(canary)), podIn("quiet", "a", asks)},
		nobody: {
			podIn("plain", "a"), podIn("quiet", "a"), podIn("plain", "a", of(canary)), podIn("closed", "a", asks, of(canary)),
			podIn("trial", "a", opposes), podIn("trial", "a", of("other")), podIn("shop", "a", of("other")),
		},
	} {
		for _, p := range pods {
			what := fmt.Sprintf("Pod in %s with %v", p.Namespace, p.Labels)
			if got := asked(t.Context(), p); got != want {
				t.Errorf("%s: asked: %s; want %s", what, got, want)
			}
		}
	}
}

// TestOperatorOfARevision: it makes what it serves by, and nothing that it would share with another.
func TestOperatorOfARevision(t *testing.T) {
	i := newInstallation(t)
	installCertManager(t, i.config)
	installGatewayAPI(t, i.config)
	create(t, i.Client, &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}}, namespaceLabelled("shop", inMesh))
	i.operateRevision(canary)
	i.awaitReady()
	system := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: name}
	}
	for _, o := range []client.Object{
		&cmv1.Certificate{ObjectMeta: system("weft-xds-canary")},
		&cmv1.Certificate{ObjectMeta: system("weft-webhook-canary")},
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "weft-injector-canary"}},
	} {
		i.awaitObject(o)
	}
	for _, o := range []client.Object{
		&cmv1.Issuer{ObjectMeta: system(caIssuer)},
		&cmv1.Certificate{ObjectMeta: system(xdsName)},
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: webhooks.InjectorName}},
		&admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: webhooks.Name}},
		&gwv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: ClassName}},
		rootsOf("shop"),
	} {
		if err := i.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			t.Errorf("%T %s: %v; want none", o, keyOf(o), err)
		}
	}
	var settings v1alpha1.Mesh
	if err := i.Get(t.Context(), client.ObjectKey{Name: v1alpha1.MeshName}, &settings); err != nil || settings.Status.ObservedGeneration != 0 || settings.Status.Proxies != nil {
		t.Errorf("%v, status %+v; want none", err, settings.Status)
	}
	i.operate()
	i.awaitReady()
	i.awaitClass()
	i.awaitCertificates()
}

// TestSidecarsKnowTheirOperator: a proxy connects to the operator that gave it to its pod.
func TestSidecarsKnowTheirOperator(t *testing.T) {
	for revision, host := range map[string]string{"": "weft-xds.weft-system.svc", canary: "weft-xds-canary.weft-system.svc"} {
		e, err := injector(nil, "weft:test", revision).Envoy(sidecar.Options{}, "key")
		if err != nil || !strings.Contains(e.Bootstrap, host) {
			t.Errorf("revision %q: %v, bootstrap without %s: %s", revision, err, host, e.Bootstrap)
		}
	}
}

// TestManifestOfARevision: dist/revision.yaml and the operator that it runs use the same names, and the
// Services of neither installation lead to the other's pods.
func TestManifestOfARevision(t *testing.T) {
	deployed, services, roles := readManifest(t, "../dist/revision.yaml")
	installed, others, _ := readManifest(t, "../dist/install.yaml")
	if args := deployed.Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, "--revision="+canary) {
		t.Errorf("args: %q", args)
	}
	if want := []string{webhooks.Revised(webhooks.Name, canary), webhooks.Revised(xdsName, canary)}; !slices.Equal(slices.Sorted(maps.Keys(services)), want) {
		t.Errorf("Services %v; want %v", services, want)
	}
	if len(roles) != 1 || !slices.Equal(roles[0].Rules[0].ResourceNames, []string{webhooks.Revised(webhooks.InjectorName, canary)}) {
		t.Errorf("ClusterRoles: %+v", roles)
	}
	for _, c := range []struct {
		services map[string]map[string]string
		pods     *appsv1.Deployment
		leads    bool
	}{{services, deployed, true}, {services, installed, false}, {others, deployed, false}, {others, installed, true}} {
		for name, selector := range c.services {
			if labels.SelectorFromSet(selector).Matches(labels.Set(c.pods.Spec.Template.Labels)) != c.leads {
				t.Errorf("Service %s leads to the pods of Deployment %s: %v", name, c.pods.Name, !c.leads)
			}
		}
	}
}

// readManifest returns the Deployment of a manifest, the selectors of its Services, and its ClusterRoles.
func readManifest(t *testing.T, file string) (d *appsv1.Deployment, services map[string]map[string]string, roles []rbacv1.ClusterRole) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, services = &appsv1.Deployment{}, map[string]map[string]string{}
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		var o unstructured.Unstructured
		if err := decoder.Decode(&o.Object); errors.Is(err, io.EOF) {
			return d, services, roles
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		switch o.GetKind() {
		case "Deployment":
			convert(t, o, d)
		case "Service":
			var service corev1.Service
			convert(t, o, &service)
			services[service.Name] = service.Spec.Selector
		case "ClusterRole":
			var role rbacv1.ClusterRole
			convert(t, o, &role)
			roles = append(roles, role)
		}
	}
}

func convert(t *testing.T, from unstructured.Unstructured, into any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(from.Object, into); err != nil {
		t.Fatal(err)
	}
}
