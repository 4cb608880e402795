package controllers

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/mesh"
)

// shop is a cluster with one Gateway in it, shop/web.
type shop struct {
	*testing.T
	client.Client
	config *rest.Config
	writes atomic.Int32
	sets   SetPorts // that of the controller
}

// counted counts what is written through it.
type counted struct {
	client.Client
	writes *atomic.Int32
}

func (c counted) Apply(ctx context.Context, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	c.writes.Add(1)
	return c.Client.Apply(ctx, o, opts...)
}

func (c counted) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	c.writes.Add(1)
	return c.Client.Delete(ctx, o, opts...)
}

var web = metav1.ObjectMeta{Namespace: "shop", Name: "web-weft"}

func newShop(t *testing.T) *shop {
	s := &shop{T: t, config: apiServer(t)}
	s.sets.Of = func(string) ([]gateway.Port, bool) { return nil, true }
	installGatewayAPI(t, s.config)
	installMesh(t, s.config)
	s.Client = newClient(t, s.config)
	for _, name := range []string{"shop", v1alpha1.SystemNamespace} {
		s.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	s.create(&gwv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "weft"}, Spec: gwv1.GatewayClassSpec{ControllerName: mesh.ControllerName}})
	s.create(&gwv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: gwv1.GatewayClassSpec{ControllerName: "example.com/other"}})
	s.create(s.gateway())
	return s
}

func (s *shop) gateway() *gwv1.Gateway {
	return &gwv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: gwv1.GatewaySpec{
			GatewayClassName: "weft",
			Listeners:        []gwv1.Listener{{Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}},
		},
	}
}

// operate runs the controller until stop, or the test, ends.
func (s *shop) operate() (stop func()) {
	s.Helper()
	mgr, err := ctrl.NewManager(s.config, ctrl.Options{
		Scheme:     s.Scheme(),
		Cache:      CacheOptions(""),
		Metrics:    server.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
		NewClient: func(c *rest.Config, o client.Options) (client.Client, error) {
			made, err := client.New(c, o)
			return counted{made, &s.writes}, err
		},
	})
	if err != nil {
		s.Fatal(err)
	}
	if err := SetupProxies(mgr, &s.sets); err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("the manager: %v", err)
		}
	}
	s.Cleanup(func() { cancel() })
	return stop
}

func (s *shop) create(o client.Object) {
	s.Helper()
	create(s.T, s.Client, o)
}

// change reads o, lets edit alter it, and writes it, again where somebody else was faster.
func (s *shop) change(o client.Object, edit func()) {
	s.Helper()
	until(s.T, func() string {
		if err := s.Get(s.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err.Error()
		}
		edit()
		if err := s.Update(s.Context(), o); err != nil {
			return err.Error()
		}
		return ""
	})
}

// waitFor waits until o is there and wanted.
func (s *shop) waitFor(o client.Object, wanted func() bool) {
	s.Helper()
	until(s.T, func() string {
		if err := s.Get(s.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err.Error()
		}
		if !wanted() {
			return fmt.Sprintf("%T %s is not as wanted: %+v", o, o.GetName(), o)
		}
		return ""
	})
}

func (s *shop) waitGone(o client.Object) {
	s.Helper()
	until(s.T, func() string {
		if err := s.Get(s.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("%T %s is still there (%v)", o, o.GetName(), err)
		}
		return ""
	})
}

// until waits until check tells nothing more.
func until(t *testing.T, check func() (problem string)) {
	t.Helper()
	problem := "not looked at"
	eventually(t, "check", func(context.Context) bool {
		problem = check()
		return problem == ""
	}, func() string { return problem })
}

func always() bool { return true }

// quiet checks that work in progress comes to its end, after which nothing is written.
func (s *shop) quiet(during func()) {
	s.Helper()
	before := s.writes.Load()
	during()
	if n := s.writes.Load() - before; n != 0 {
		s.Errorf("%d writes although nothing changed", n)
	}
}

// serving gives the xDS server's Secret this authority.
func (s *shop) serving(roots []byte) {
	s.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: XDSSecret}}
	data := map[string][]byte{"ca.crt": roots, "tls.crt": {}, "tls.key": {}}
	if s.Get(s.Context(), client.ObjectKeyFromObject(secret), secret) == nil {
		s.change(secret, func() { secret.Data = data })
		return
	}
	secret.Type, secret.Data = corev1.SecretTypeTLS, data
	s.create(secret)
}

// TestProxies follows one Gateway through its life.
func TestProxies(t *testing.T) {
	s := newShop(t)
	stop := s.operate()
	first, second := selfSigned(t, time.Hour), selfSigned(t, 2*time.Hour)
	d, svc, cm := &appsv1.Deployment{ObjectMeta: web}, &corev1.Service{ObjectMeta: web}, &corev1.ConfigMap{ObjectMeta: web}
	all := []client.Object{d, svc, cm, &corev1.ServiceAccount{ObjectMeta: web}, &policyv1.PodDisruptionBudget{ObjectMeta: web}}

	s.serving(first)
	for _, o := range all {
		s.waitFor(o, always)
		if !metav1.IsControlledBy(o, s.read()) {
			t.Errorf("%T is not owned by the Gateway", o)
		}
	}
	s.waitFor(cm, func() bool { return cm.Data["ca.crt"] == string(first) })

	t.Log("A restart writes nothing.")
	s.settle(cm)
	stop()
	s.quiet(func() { s.operate(); s.settle(cm) })

	t.Log("What others change comes back, what they add stays.")
	s.change(d, func() {
		d.Spec.Template.Spec.Containers[0].Image = "example.com/other"
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, corev1.Container{Name: "extra", Image: "extra"})
	})
	s.waitFor(d, func() bool {
		c := d.Spec.Template.Spec.Containers
		return len(c) == 2 && c[0].Image == "envoyproxy/envoy:distroless-v1.40.0"
	})

	t.Log("A listener comes and goes.")
	g := s.gateway()
	s.change(g, func() {
		g.Spec.Listeners = append(g.Spec.Listeners, gwv1.Listener{Name: "more", Port: 8080, Protocol: gwv1.HTTPProtocolType})
	})
	s.waitFor(svc, func() bool { return len(svc.Spec.Ports) == 2 })
	s.change(g, func() { g.Spec.Listeners = g.Spec.Listeners[1:] })
	s.waitFor(svc, func() bool { return len(svc.Spec.Ports) == 1 && svc.Spec.Ports[0].Port == 8080 })

	t.Log("A new authority joins the old one, which is still valid.")
	s.serving(second)
	s.waitFor(cm, func() bool { return cm.Data["ca.crt"] == string(second)+string(first) })

	t.Log("The Mesh's defaults reach the proxies.")
	settings := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MeshName}}
	settings.Spec.Gateways.Replicas = new(int32(3))
	s.create(settings)
	s.waitFor(d, func() bool { return *d.Spec.Replicas == 3 })

	t.Log("A Gateway of another class is left to others.")
	s.change(g, func() { g.Spec.GatewayClassName = "other" })
	for _, o := range all {
		s.waitGone(o)
	}
}

func (s *shop) read() *gwv1.Gateway {
	g := s.gateway()
	if err := s.Get(s.Context(), client.ObjectKeyFromObject(g), g); err != nil {
		s.Fatal(err)
	}
	return g
}

// settle waits until the controller has done all there is to do: it has repaired what we break
// now, which comes last in its queue.
func (s *shop) settle(cm *corev1.ConfigMap) {
	s.Helper()
	s.change(cm, func() { cm.Data["ca.crt"] = "broken" })
	s.waitFor(cm, func() bool { return cm.Data["ca.crt"] != "broken" })
	s.writes.Add(-1) // of the repair
}

// TestParameters changes what a parametersRef names.
func TestParameters(t *testing.T) {
	s := newShop(t)
	s.serving(selfSigned(t, time.Hour))
	s.operate()
	d := &appsv1.Deployment{ObjectMeta: web}
	s.waitFor(d, always)

	params := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "params"}}
	g := s.gateway()
	s.change(g, func() {
		g.Spec.Infrastructure = &gwv1.GatewayInfrastructure{ParametersRef: &gwv1.LocalParametersReference{Kind: "ConfigMap", Name: "params"}}
	})
	params.Data = map[string]string{"deployment": "spec: {replicas: 4}", "runtime": "a.b: 5"}
	s.create(params)
	s.waitFor(d, func() bool {
		return *d.Spec.Replicas == 4 && strings.Contains(d.Spec.Template.Spec.Containers[0].Args[1], `"a.b":5`)
	})

	t.Log("What only the API server can refuse is told of.")
	s.change(params, func() { params.Data["deployment"] = "spec: {strategy: {rollingUpdate: {maxSurge: 0}}}" })
	s.waitEvent("ApplyRefused", "maxUnavailable")

	t.Log("Invalid parameters leave the proxies as they are, and do not keep the next ones out.")
	s.change(params, func() { params.Data["deployment"] = "spec: {replcias: 7}" })
	s.change(params, func() { params.Data = map[string]string{"deployment": "spec: {replicas: null}"} })
	s.waitFor(d, func() bool { return !strings.Contains(d.Spec.Template.Spec.Containers[0].Args[1], "a.b") })
	if owned := strings.Contains(fmt.Sprint(d.ManagedFields), "f:replicas"); *d.Spec.Replicas == 7 || owned {
		t.Errorf("replicas %d, owned by Weft: %v", *d.Spec.Replicas, owned)
	}
}

// TestNameTaken: what was there before, and is not the Gateway's, is not touched.
func TestNameTaken(t *testing.T) {
	s := newShop(t)
	theirs := &corev1.ServiceAccount{ObjectMeta: web}
	s.create(theirs)
	s.serving(selfSigned(t, time.Hour))
	s.operate()
	s.waitEvent("NameTaken", "ServiceAccount web-weft")
	s.waitFor(theirs, func() bool { return len(theirs.OwnerReferences) == 0 })
}

func (s *shop) waitEvent(reason, text string) {
	s.Helper()
	var events corev1.EventList
	until(s.T, func() string {
		if err := s.List(s.Context(), &events, client.InNamespace("shop")); err != nil {
			return err.Error()
		}
		for _, e := range events.Items {
			if e.Reason == reason && strings.Contains(e.Message, text) {
				return ""
			}
		}
		return fmt.Sprintf("no event %s tells of %s: %v", reason, text, events.Items)
	})
}
