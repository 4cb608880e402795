package controllers

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/sidecar"
)

// rootsStage is an API server on which Roots runs, with a certificate of the xDS server.
type rootsStage struct {
	*testing.T
	client.Client
	serving *corev1.Secret
}

func newRootsStage(t *testing.T) *rootsStage {
	cluster := apiServer(t)
	s := &rootsStage{T: t, Client: newClient(t, cluster)}
	create(t, s.Client, namespaceLabelled(v1alpha1.SystemNamespace, nil), namespaceLabelled("shop", inMesh), namespaceLabelled("plain", nil))
	s.serving = servingSecret(t, 1)
	s.serving.Name = XDSSecret
	s.serving.Data[gateway.RootsKey] = s.serving.Data[corev1.TLSCertKey]
	mgr, err := ctrl.NewManager(cluster, ctrl.Options{
		Scheme: s.Scheme(), Cache: CacheOptions(""), Metrics: server.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err == nil {
		err = SetupRoots(mgr)
	}
	if err != nil {
		t.Fatal(err)
	}
	run(t, mgr)
	return s
}

// roots are those in a namespace; nil when it has none.
func (s *rootsStage) roots(ctx context.Context, namespace string) []byte {
	var cm corev1.ConfigMap
	if err := s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: sidecar.RootsConfigMap}, &cm); err != nil {
		return nil
	}
	return []byte(cm.Data[sidecar.RootsKey])
}

func (s *rootsStage) await(namespace string, want []byte) {
	s.Helper()
	eventually(s.T, "roots in "+namespace, func(ctx context.Context) bool { return bytes.Equal(s.roots(ctx, namespace), want) },
		func() string { return fmt.Sprintf("%s; want %s", s.roots(context.Background(), namespace), want) })
}

func (s *rootsStage) edit(o client.Object, change func()) {
	s.Helper()
	if err := s.Get(s.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		s.Fatal(err)
	}
	change()
	if err := s.Update(s.Context(), o); err != nil {
		s.Fatal(err)
	}
}

func (s *rootsStage) remove(o client.Object) {
	s.Helper()
	if err := s.Delete(s.Context(), o, client.GracePeriodSeconds(0)); err != nil {
		s.Fatal(err)
	}
}

func rootsOf(namespace string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: sidecar.RootsConfigMap}}
}

func TestRoots(t *testing.T) {
	s := newRootsStage(t)
	create(t, s.Client, s.serving)
	first := s.serving.Data[gateway.RootsKey]
	s.await("shop", first)
	if got := s.roots(t.Context(), "plain"); got != nil {
		t.Errorf("a namespace outside the mesh got roots: %s", got)
	}

	forged := servingSecret(t, 3).Data[corev1.TLSCertKey]
	cm := rootsOf("shop")
	s.edit(cm, func() { cm.Data[sidecar.RootsKey] = string(slices.Concat(first, forged)) })
	s.await("shop", first)
	s.remove(rootsOf("shop"))
	s.await("shop", first)

	second := servingSecret(t, 2).Data[corev1.TLSCertKey]
	s.edit(s.serving, func() { s.serving.Data[gateway.RootsKey] = second })
	s.await("shop", slices.Concat(second, first))
	create(t, s.Client, namespaceLabelled("late", inMesh))
	s.await("late", slices.Concat(second, first))
}

// TestRootsComeWithAPod: one that asked to be in the mesh, in a namespace that is not, waits for them.
func TestRootsComeWithAPod(t *testing.T) {
	s := newRootsStage(t)
	create(t, s.Client, s.serving, podIn("plain", "other"))
	s.await("shop", s.serving.Data[gateway.RootsKey])
	if got := s.roots(t.Context(), "plain"); got != nil {
		t.Fatalf("a namespace without pods in the mesh got roots: %s", got)
	}
	pod := podIn("plain", "cart", ofRevision("any"))
	create(t, s.Client, pod)
	s.await("plain", s.serving.Data[gateway.RootsKey])
	s.remove(pod)
	s.await("plain", nil)
}

// TestRootsStayWhilePodsNeedThem: a namespace that is no longer in the mesh keeps them for the pods that
// still are.
func TestRootsStayWhilePodsNeedThem(t *testing.T) {
	s := newRootsStage(t)
	theirs := rootsOf("plain")
	theirs.Data = map[string]string{sidecar.RootsKey: "theirs"}
	pod := podIn("shop", "cart", ofRevision("any"))
	create(t, s.Client, s.serving, theirs, pod)
	first := s.serving.Data[gateway.RootsKey]
	s.await("shop", first)
	shop := namespaceLabelled("shop", nil)
	s.edit(shop, func() { delete(shop.Labels, sidecar.InjectLabel) })
	s.remove(rootsOf("shop"))
	s.await("shop", first)
	s.remove(pod)
	s.await("shop", nil)
	if got := s.roots(t.Context(), "plain"); string(got) != "theirs" {
		t.Errorf("somebody else's ConfigMap is now %q", got)
	}
}
