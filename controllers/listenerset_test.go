package controllers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// TestListenerSets: Gateways are served without the kind; once it is there, a ListenerSet opens a port of
// a Gateway's Service, closes it again, and is told of a Gateway that goes.
func TestListenerSets(t *testing.T) {
	i := newInstallation(t)
	late := i.installAllBut("gateway.networking.k8s.io_listenersets.yaml")
	create(t, i.Client, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: XDSSecret}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"ca.crt": selfSigned(t, time.Hour), "tls.crt": {}, "tls.key": {}},
	})
	i.operate()
	i.awaitReady()
	i.awaitClass()
	g := &gwv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	g.Spec.GatewayClassName = ClassName
	g.Spec.Listeners = []gwv1.Listener{{Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}}
	g.Spec.AllowedListeners = &gwv1.AllowedListeners{Namespaces: &gwv1.ListenerNamespaces{From: new(gwv1.NamespacesFromSame)}}
	create(t, i.Client, g)
	i.awaitPorts(80)

	i.installFiles(late)
	set := func() *gwv1.ListenerSet {
		s := &gwv1.ListenerSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "more"}}
		s.Spec.ParentRef.Name = "web"
		s.Spec.Listeners = []gwv1.ListenerEntry{{Name: "alt", Port: 8080, Protocol: gwv1.HTTPProtocolType}, {Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}}
		return s
	}
	create(t, i.Client, set())
	i.awaitPorts(80, 8080)
	i.awaitSet(metav1.ConditionTrue, "ListenersNotValid", 2)
	i.awaitSets(1)

	if err := i.Delete(t.Context(), set()); err != nil {
		t.Fatal(err)
	}
	i.awaitPorts(80)
	i.awaitSets(0)

	create(t, i.Client, set())
	i.awaitSet(metav1.ConditionTrue, "ListenersNotValid", 2)
	if err := i.Delete(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	i.awaitSet(metav1.ConditionFalse, "ParentNotFound", 0)
}

// installAllBut installs the CRDs of Gateway API but for one file, whose path it returns.
func (i *installation) installAllBut(file string) string {
	i.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		i.Fatal(err)
	}
	folder := filepath.Join(strings.TrimSpace(string(dir)), "config/crd/standard")
	entries, err := os.ReadDir(folder)
	if err != nil {
		i.Fatal(err)
	}
	var files []string
	for _, e := range entries {
		if e.Name() != file {
			files = append(files, filepath.Join(folder, e.Name()))
		}
	}
	i.installFiles(files...)
	return filepath.Join(folder, file)
}

func (i *installation) installFiles(files ...string) {
	i.Helper()
	if _, err := envtest.InstallCRDs(i.config, envtest.CRDInstallOptions{Paths: files, ErrorIfPathMissing: true}); err != nil {
		i.Fatal(err)
	}
}

// awaitPorts waits until these are the ports of the Gateway's Service.
func (i *installation) awaitPorts(wanted ...int32) {
	i.Helper()
	svc := &corev1.Service{ObjectMeta: web}
	eventually(i.T, "the Service's ports", func(ctx context.Context) bool {
		err := i.Get(ctx, client.ObjectKeyFromObject(svc), svc)
		return err == nil && slices.EqualFunc(svc.Spec.Ports, wanted, func(p corev1.ServicePort, n int32) bool { return p.Port == n })
	}, func() string { return fmt.Sprintf("%+v; want %v", svc.Spec.Ports, wanted) })
}

// awaitSet waits for what is said of the ListenerSet, and of so many listeners.
func (i *installation) awaitSet(status metav1.ConditionStatus, reason string, listeners int) {
	i.Helper()
	var s gwv1.ListenerSet
	eventually(i.T, "the ListenerSet's status", func(ctx context.Context) bool {
		err := i.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "more"}, &s)
		c := meta.FindStatusCondition(s.Status.Conditions, "Accepted")
		return err == nil && c != nil && c.Status == status && c.Reason == reason && len(s.Status.Listeners) == listeners
	}, func() string { return fmt.Sprintf("%+v; want %s %s", s.Status, status, reason) })
}

// awaitSets waits until the Gateway tells of so many ListenerSets.
func (i *installation) awaitSets(wanted int32) {
	i.Helper()
	var g gwv1.Gateway
	eventually(i.T, "the Gateway's ListenerSets", func(ctx context.Context) bool {
		err := i.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "web"}, &g)
		return err == nil && g.Status.AttachedListenerSets != nil && *g.Status.AttachedListenerSets == wanted
	}, func() string { return fmt.Sprintf("%+v; want %d", g.Status, wanted) })
}
