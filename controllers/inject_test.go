package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/webhooks"
)

var inMesh = map[string]string{sidecar.InjectLabel: sidecar.Enabled}

// registerInjector has the API server call the webhook of a revision's operator at a port.
func (s *webhookStage) registerInjector(revision string, port int, bundle []byte) {
	s.Helper()
	c := webhooks.InjectorConfiguration(v1alpha1.SystemNamespace, revision)
	for i := range c.Webhooks {
		url := fmt.Sprintf("https://127.0.0.1:%d%s", port, *c.Webhooks[i].ClientConfig.Service.Path)
		c.Webhooks[i].ClientConfig = admissionv1.WebhookClientConfig{URL: &url, CABundle: bundle}
	}
	create(s.T, s.Client, c)
}

func namespaceLabelled(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

// podIn has a ServiceAccount, as the API server would give it one if this one had that admission plugin.
func podIn(namespace, name string, edits ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.PodSpec{ServiceAccountName: "app", Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	for _, edit := range edits {
		edit(p)
	}
	return p
}

func labelled(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { metav1.SetMetaDataLabel(&p.ObjectMeta, key, value) }
}

var asks = labelled(sidecar.InjectLabel, sidecar.Enabled)

// newInjectorStage is a cluster with namespaces, and the webhook at work.
func newInjectorStage(t *testing.T) *webhookStage {
	s := newWebhookStage(t)
	secret := servingSecret(t, 1)
	hardened := maps.Clone(inMesh)
	hardened["pod-security.kubernetes.io/enforce"] = "restricted"
	create(t, s.Client, secret, namespaceLabelled("shop", inMesh), namespaceLabelled("plain", nil), namespaceLabelled("hardened", hardened),
		namespaceLabelled("closed", map[string]string{sidecar.InjectLabel: sidecar.Disabled}),
		namespaceLabelled("tight", map[string]string{"pod-security.kubernetes.io/enforce": "baseline"}))
	for _, name := range []string{v1alpha1.SystemNamespace, metav1.NamespaceSystem} {
		ns := &corev1.Namespace{}
		if err := s.Get(t.Context(), client.ObjectKey{Name: name}, ns); err != nil {
			t.Fatal(err)
		}
		ns.Labels[sidecar.InjectLabel] = sidecar.Enabled
		if err := s.Update(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitSerial(1)
	s.registerInjector("", s.port, secret.Data[corev1.TLSCertKey])
	var err error
	eventually(t, "the webhook", func(ctx context.Context) bool {
		p := podIn("shop", "first")
		err = s.Create(ctx, p, client.DryRunAll)
		return err == nil && sidecar.Injected(p)
	}, func() string { return fmt.Sprint(err) })
	return s
}

func TestInjector(t *testing.T) {
	s := newInjectorStage(t)
	for name, c := range map[string]struct {
		pod      *corev1.Pod
		injected bool
		refused  string
	}{
		"in":                       {podIn("shop", "a"), true, ""},
		"in, and says so":          {podIn("shop", "a", asks), true, ""},
		"opts out":                 {podIn("shop", "a", labelled(sidecar.InjectLabel, sidecar.Disabled)), false, ""},
		"of a Gateway":             {podIn("shop", "a", labelled(gateway.NameLabel, gateway.NameOfProxies)), false, ""},
		"in another namespace":     {podIn("plain", "a"), false, ""},
		"asks in another one":      {podIn("plain", "a", asks), true, ""},
		"asks where none may":      {podIn("closed", "a", asks), false, ""},
		"asks, with hostNetwork":   {podIn("plain", "a", asks, func(p *corev1.Pod) { p.Spec.HostNetwork = true }), false, "Pod plain/a cannot be in the mesh: spec.hostNetwork is true"},
		"asks under Pod Security":  {podIn("tight", "a", asks), false, "namespace tight enforces Pod Security level baseline"},
		"does not ask there":       {podIn("tight", "a"), false, ""},
		"in weft-system":           {podIn(v1alpha1.SystemNamespace, "a"), false, ""},
		"in kube-system":           {podIn(metav1.NamespaceSystem, "a"), false, ""},
		"hostNetwork":              {podIn("shop", "a", func(p *corev1.Pod) { p.Spec.HostNetwork = true }), false, "Pod shop/a cannot be in the mesh: spec.hostNetwork is true"},
		"without a name":           {podIn("shop", "", func(p *corev1.Pod) { p.GenerateName, p.Spec.HostNetwork = "a-", true }), false, "Pod shop/a-… cannot"},
		"under Pod Security":       {podIn("hardened", "a"), false, "namespace hardened enforces Pod Security level restricted"},
		"opts out of that, but is": {podIn("hardened", "a", labelled(sidecar.InjectLabel, sidecar.Disabled)), false, "violates PodSecurity"},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Create(t.Context(), c.pod, client.DryRunAll)
			if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Fatalf("%v; want %q", err, c.refused)
			}
			if sidecar.Injected(c.pod) != c.injected {
				t.Errorf("injected: %v", sidecar.Injected(c.pod))
			}
		})
	}
}

// TestInjectedPodIsLeftAlone: one that is made again from a copy, as by a backup.
func TestInjectedPodIsLeftAlone(t *testing.T) {
	s := newInjectorStage(t)
	first := podIn("shop", "first", func(p *corev1.Pod) {
		p.Annotations = map[string]string{"example.com/a": "b"}
		p.Spec.InitContainers = []corev1.Container{{Name: "migrate", Image: "app"}}
		p.Spec.Volumes = []corev1.Volume{{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	})
	create(t, s.Client, first)
	if got := names(first); got != "weft-redirect weft-proxy migrate app, cache weft-token weft-roots weft-sds" || first.Annotations["example.com/a"] != "b" {
		t.Fatalf("%s, %v", got, first.Annotations)
	}
	again := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "again", Annotations: first.Annotations}, Spec: *first.Spec.DeepCopy()}
	create(t, s.Client, again)
	if !equality.Semantic.DeepEqual(again.Spec, first.Spec) || again.Annotations[sidecar.InjectedAnnotation] != first.Annotations[sidecar.InjectedAnnotation] {
		t.Errorf("%+v", again)
	}
}

// names are those of a pod's containers, in the order in which they start, and of its volumes.
func names(p *corev1.Pod) string {
	var containers, volumes []string
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		containers = append(containers, c.Name)
	}
	for _, v := range p.Spec.Volumes {
		volumes = append(volumes, v.Name)
	}
	return strings.Join(containers, " ") + ", " + strings.Join(volumes, " ")
}

// TestInjectorFollowsTheMesh: a new default holds for the next pod, and makes another revision.
func TestInjectorFollowsTheMesh(t *testing.T) {
	s := newInjectorStage(t)
	before := podIn("shop", "before")
	create(t, s.Client, before, &v1alpha1.Mesh{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName},
		Spec:       v1alpha1.MeshSpec{Sidecars: v1alpha1.SidecarDefaults{Concurrency: new(int32(7))}},
	})
	var after *corev1.Pod
	eventually(t, "the new default", func(ctx context.Context) bool {
		after = podIn("shop", "after")
		return s.Create(ctx, after, client.DryRunAll) == nil && slices.Contains(after.Spec.InitContainers[1].Args, "7")
	}, func() string { return fmt.Sprintf("%+v", after) })
	if key := sidecar.InjectedAnnotation; after.Annotations[key] == before.Annotations[key] {
		t.Errorf("the revision is %s as before", after.Annotations[key])
	}
}
