package controllers

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/api/v1alpha1"
)

// TestSMIKinds: the API server takes SMI's kinds as its specification writes them, and refuses what their
// schemas exclude.
func TestSMIKinds(t *testing.T) {
	config := apiServer(t)
	install(t, config, "", "config/smi/bases")
	c := newClient(t, config)
	for _, text := range []string{`
kind: TrafficSplit
apiVersion: split.smi-spec.io/v1alpha4
metadata: {name: ab-test, namespace: default}
spec:
  service: website
  matches:
  - {kind: HTTPRouteGroup, name: ab-test}
  backends:
  - {service: website-v1, weight: 0}
  - {service: website-v2, weight: 100}`, `
kind: HTTPRouteGroup
apiVersion: specs.smi-spec.io/v1alpha4
metadata: {name: the-routes, namespace: default}
spec:
  matches:
  - {name: metrics, pathRegex: /metrics, methods: [GET]}
  - {name: health, pathRegex: /ping, methods: ["*"]}
  - {name: android-insiders, headers: {user-agent: ".*Android.*", cookie: "^(.*?;)?(type=insider)(;.*)?$"}}`, `
kind: TCPRoute
apiVersion: specs.smi-spec.io/v1alpha4
metadata: {name: the-routes, namespace: default}
spec: {matches: {ports: [3306, 6446]}}`, `
kind: UDPRoute
apiVersion: specs.smi-spec.io/v1alpha4
metadata: {name: the-routes, namespace: default}
spec: {matches: {ports: []}}`, `
kind: TrafficTarget
apiVersion: access.smi-spec.io/v1alpha3
metadata: {name: path-specific, namespace: default}
spec:
  destination: {kind: ServiceAccount, name: service-a, namespace: default}
  rules:
  - {kind: TCPRoute, name: the-routes}
  - {kind: HTTPRouteGroup, name: the-routes, matches: [metrics]}
  sources:
  - {kind: ServiceAccount, name: prometheus, namespace: default}`} {
		o := smiObject(t, text)
		create(t, c, o)
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		if ready := meta.FindStatusCondition(smiConditions(o), split.ConditionReady); ready == nil || ready.Status != metav1.ConditionUnknown {
			t.Errorf("a fresh %T counts as ready", o)
		}
	}
	for text, why := range map[string]string{
		`{kind: TrafficSplit, metadata: {name: a}, spec: {service: web, backends: []}}`:                                                              "spec.backends",
		`{kind: TrafficSplit, metadata: {name: a}, spec: {service: web, backends: [{service: a, weight: -1}]}}`:                                      "greater than or equal to 0",
		`{kind: TrafficSplit, metadata: {name: a}, spec: {service: web, matches: [{kind: TCPRoute, name: a}], backends: [{service: a, weight: 1}]}}`: "supported values: \"HTTPRouteGroup\"",
		`{kind: HTTPRouteGroup, metadata: {name: a}, spec: {matches: [{name: a, methods: [FETCH]}]}}`:                                                "spec.matches[0].methods[0]",
		`{kind: HTTPRouteGroup, metadata: {name: a}, spec: {matches: [{name: a}, {name: a}]}}`:                                                       "Duplicate value",
		`{kind: TCPRoute, metadata: {name: a}, spec: {matches: {ports: [70000]}}}`:                                                                   "spec.matches.ports[0]",
		`{kind: TrafficTarget, metadata: {name: a}, spec: {destination: {kind: Pod, name: a}, sources: [], rules: []}}`:                              "spec.destination.kind",
	} {
		o := smiObject(t, text)
		o.SetNamespace("default")
		if err := c.Create(t.Context(), o, client.DryRunAll); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", text, err, why)
		}
	}
}

// TestLateSMI: SMI's kinds may come after the operator. Then it tells what becomes of their objects.
func TestLateSMI(t *testing.T) {
	i := newInstallation(t)
	create(t, i.Client, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: XDSSecret}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"ca.crt": selfSigned(t, time.Hour), "tls.crt": {}, "tls.key": {}},
	})
	i.operate()
	i.awaitReady()
	install(t, i.config, "", "config/smi/bases")
	for _, text := range []string{
		`{kind: TrafficSplit, metadata: {name: canary, namespace: default}, spec: {service: web, matches: [{kind: HTTPRouteGroup, name: ab}], backends: [{service: web, weight: 1}]}}`,
		`{kind: HTTPRouteGroup, metadata: {name: ab, namespace: default}, spec: {matches: [{name: ab, headers: {a: b}}]}}`,
	} {
		create(t, i.Client, smiObject(t, text))
	}
	s, g := &split.TrafficSplit{}, &specs.HTTPRouteGroup{}
	expect := func(ready metav1.ConditionStatus, reason string) {
		t.Helper()
		eventually(t, "the statuses", func(ctx context.Context) bool {
			if i.Get(ctx, client.ObjectKey{Namespace: "default", Name: "canary"}, s) != nil || i.Get(ctx, client.ObjectKey{Namespace: "default", Name: "ab"}, g) != nil {
				return false
			}
			c := meta.FindStatusCondition(s.Status.Conditions, split.ConditionReady)
			return c != nil && c.Status == ready && c.Reason == reason && s.Status.ObservedGeneration == s.Generation &&
				meta.IsStatusConditionTrue(g.Status.Conditions, specs.ConditionReady) && len(g.Status.UsedBy) == 1
		}, func() string { return fmt.Sprintf("%+v %+v", s.Status, g.Status) })
	}
	expect(metav1.ConditionFalse, split.ReasonServiceNotFound)
	create(t, i.Client, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, Name: "http"}}}})
	expect(metav1.ConditionTrue, split.ConditionAccepted)
	if len(s.Status.Ports) != 1 || s.Status.Weights != "web 1" || meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReconciling) != nil {
		t.Errorf("%+v", s.Status)
	}
}

// TestUnlistedSMI: kinds of SMI that cannot be listed do not keep the rest from being served; other kinds do.
func TestUnlistedSMI(t *testing.T) {
	never, at := func() bool { return false }, func() bool { return true }
	services := corev1.SchemeGroupVersion.WithKind("Service")
	f := &feeds{started: map[schema.GroupVersionKind]func() bool{split.GroupVersion.WithKind("TrafficSplit"): never, services: at}}
	if !f.wait(t.Context(), 0) {
		t.Error("SMI is waited for without end")
	}
	f.started[services] = never
	ended, end := context.WithCancel(t.Context())
	end()
	if f.wait(ended, 0) {
		t.Error("Services are not waited for")
	}
}

// smiObject is an object of one of SMI's kinds in the stored version.
func smiObject(t *testing.T, text string) client.Object {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(text), &kind); err != nil {
		t.Fatal(err)
	}
	o := map[string]client.Object{
		"TrafficSplit": &split.TrafficSplit{}, "TrafficTarget": &access.TrafficTarget{},
		"HTTPRouteGroup": &specs.HTTPRouteGroup{}, "TCPRoute": &specs.TCPRoute{}, "UDPRoute": &specs.UDPRoute{},
	}[kind.Kind]
	if err := yaml.UnmarshalStrict([]byte(text), o); err != nil {
		t.Fatal(err)
	}
	return o
}

func smiConditions(o client.Object) []metav1.Condition {
	switch o := o.(type) {
	case *split.TrafficSplit:
		return o.Status.Conditions
	case *access.TrafficTarget:
		return o.Status.Conditions
	case *specs.HTTPRouteGroup:
		return o.Status.Conditions
	case *specs.TCPRoute:
		return o.Status.Conditions
	case *specs.UDPRoute:
		return o.Status.Conditions
	}
	return nil
}
