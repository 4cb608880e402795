package core

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"
	"sigs.k8s.io/yaml"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// put hands the objects of a YAML stream to the inbox. One that is annotated "delete" goes.
func put(t *testing.T, c *Core, data []byte) {
	for _, doc := range bytes.Split(data, []byte("\n---\n")) {
		if len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		take, ok := takers[kind.Kind]
		if kind.APIVersion == "specs.smi-spec.io/v1alpha4" {
			take, ok = specTakers[kind.Kind]
		}
		if !ok {
			t.Fatalf("no table for kind %q", kind.Kind)
		}
		take(t, c, doc)
	}
}

// fetched is what came of fetching a text, as stories have it.
type fetched struct {
	URL, SHA256, Problem string
	Text                 []byte
	Awaited              bool
}

var takers = map[string]func(*testing.T, *Core, []byte){
	"Fetched": func(t *testing.T, c *Core, b []byte) {
		var in struct{ Spec fetched }
		if err := yaml.Unmarshal(b, &in); err != nil {
			t.Fatal(err)
		}
		from := room.Remote{URL: in.Spec.URL, SHA256: in.Spec.SHA256}
		cluster.Put(c.inbox, c.tables.Fetched, from.Key(), cluster.Fetched{Text: string(in.Spec.Text), Problem: in.Spec.Problem, Awaited: in.Spec.Awaited})
	},
	"GatewayClass":   func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.GatewayClasses, &gwv1.GatewayClass{}, b) },
	"Gateway":        func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.Gateways, &gwv1.Gateway{}, b) },
	"HTTPRoute":      func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.HTTPRoutes, &gwv1.HTTPRoute{}, b) },
	"GRPCRoute":      func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.GRPCRoutes, &gwv1.GRPCRoute{}, b) },
	"ListenerSet":    func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.ListenerSets, &gwv1.ListenerSet{}, b) },
	"TLSRoute":       func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.TLSRoutes, &gwv1.TLSRoute{}, b) },
	"TCPRoute":       func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.TCPRoutes, &gwv1.TCPRoute{}, b) },
	"UDPRoute":       func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.UDPRoutes, &gwv1.UDPRoute{}, b) },
	"ReferenceGrant": func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.ReferenceGrants, &gwv1.ReferenceGrant{}, b) },
	"BackendTLSPolicy": func(t *testing.T, c *Core, b []byte) {
		take(t, c, c.tables.BackendTLSPolicies, &gwv1.BackendTLSPolicy{}, b)
	},
	"XBackendTrafficPolicy": func(t *testing.T, c *Core, b []byte) {
		take(t, c, c.tables.XBackendTrafficPolicies, &gwx.XBackendTrafficPolicy{}, b)
	},
	"XMesh":   func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.XMeshes, &gwx.XMesh{}, b) },
	"Service": func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.Services, &corev1.Service{}, b) },
	"EndpointSlice": func(t *testing.T, c *Core, b []byte) {
		take(t, c, c.tables.EndpointSlices, &discoveryv1.EndpointSlice{}, b)
	},
	"Pod":       func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.Pods, &corev1.Pod{}, b) },
	"Node":      func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.Nodes, &corev1.Node{}, b) },
	"Namespace": func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.Namespaces, &corev1.Namespace{}, b) },
	"Secret":    func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.Secrets, &corev1.Secret{}, b) },
	"Deployment": func(t *testing.T, c *Core, b []byte) {
		take(t, c, c.tables.Deployments, &appsv1.Deployment{}, b)
	},
	"MeshPolicy": func(t *testing.T, c *Core, b []byte) {
		take(t, c, c.tables.MeshPolicies, &v1alpha1.MeshPolicy{}, b)
	},
	"TrafficSplit": func(t *testing.T, c *Core, b []byte) {
		take(t, c, c.tables.TrafficSplits, &split.TrafficSplit{}, b)
	},
	"TrafficTarget": func(t *testing.T, c *Core, b []byte) {
		take(t, c, c.tables.TrafficTargets, &access.TrafficTarget{}, b)
	},
	"ConfigMap": func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.ConfigMaps, &corev1.ConfigMap{}, b) },
}

// specTakers take the kinds by which SMI describes traffic; Gateway API has two of the same names.
var specTakers = map[string]func(*testing.T, *Core, []byte){
	"HTTPRouteGroup": func(t *testing.T, c *Core, b []byte) {
		take(t, c, c.tables.HTTPRouteGroups, &specs.HTTPRouteGroup{}, b)
	},
	"TCPRoute": func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.SMITCPRoutes, &specs.TCPRoute{}, b) },
	"UDPRoute": func(t *testing.T, c *Core, b []byte) { take(t, c, c.tables.SMIUDPRoutes, &specs.UDPRoute{}, b) },
}

// versions gives every object that is put a resourceVersion and, where none is written, a
// generation of its own, as an API server does.
var versions int64

func take[O metav1.Object](t *testing.T, c *Core, table *incr.Table[string, O], o O, doc []byte) {
	if err := yaml.UnmarshalStrict(doc, o); err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	versions++
	o.SetResourceVersion(fmt.Sprint(versions))
	if o.GetUID() == "" {
		o.SetUID(types.UID(o.GetNamespace() + "/" + o.GetName()))
	}
	if o.GetGeneration() == 0 {
		o.SetGeneration(versions)
	}
	key := strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/")
	if _, gone := o.GetAnnotations()["delete"]; gone {
		cluster.Delete(c.inbox, table, key)
		return
	}
	cluster.Put(c.inbox, table, key, o)
}

// statusText is every condition on a line, without the generations that the test made up.
func statusText(status any) string {
	var b strings.Builder
	conditions := func(prefix string, cs []metav1.Condition) {
		for _, c := range cs {
			fmt.Fprintf(&b, "%s%s=%s %s: %s\n", prefix, c.Type, c.Status, c.Reason, c.Message)
		}
	}
	listener := func(l gwv1.ListenerStatus) {
		fmt.Fprintf(&b, "%s attachedRoutes=%d\n", l.Name, l.AttachedRoutes)
		conditions(string(l.Name)+" ", l.Conditions)
	}
	parents := func(ps []gwv1.RouteParentStatus) {
		for _, p := range ps {
			conditions(string(p.ParentRef.Name)+" ", p.Conditions)
		}
	}
	switch s := status.(type) {
	case gwv1.GatewayClassStatus:
		conditions("", s.Conditions)
	case gwx.MeshStatus:
		conditions("", s.Conditions)
		for _, f := range s.SupportedFeatures {
			fmt.Fprintf(&b, "%s\n", f.Name)
		}
	case gwv1.GatewayStatus:
		for _, a := range s.Addresses {
			fmt.Fprintf(&b, "address %s\n", a.Value)
		}
		if n := *s.AttachedListenerSets; n > 0 {
			fmt.Fprintf(&b, "attachedListenerSets=%d\n", n)
		}
		conditions("", s.Conditions)
		for _, l := range s.Listeners {
			listener(l)
		}
	case gwv1.ListenerSetStatus:
		conditions("", s.Conditions)
		for _, l := range s.Listeners {
			listener(gwv1.ListenerStatus(l))
			for _, k := range l.SupportedKinds {
				fmt.Fprintf(&b, "%s takes %s\n", l.Name, k.Kind)
			}
		}
	case v1alpha1.MeshPolicyStatus:
		fmt.Fprintf(&b, "proxies %s\n", s.Proxies.Summary)
		conditions("", s.Conditions)
		for _, a := range s.Ancestors {
			conditions(ancestorText(a.AncestorRef)+" ", a.Conditions)
		}
	case access.TrafficTargetStatus:
		conditions("", s.Conditions)
	case split.TrafficSplitStatus:
		conditions("", s.Conditions)
		for _, p := range s.Ports {
			conditions(fmt.Sprint(p.Port, " "), p.Conditions)
		}
	case specs.Status:
		conditions("", s.Conditions)
		for _, u := range s.UsedBy {
			fmt.Fprintf(&b, "used by %s %s\n", u.Kind, u.Name)
		}
	case gwv1.PolicyStatus:
		for _, a := range s.Ancestors {
			conditions(ancestorText(a.AncestorRef)+" ", a.Conditions)
		}
	case gwv1.HTTPRouteStatus:
		parents(s.Parents)
	case gwv1.GRPCRouteStatus:
		parents(s.Parents)
	case gwv1.TLSRouteStatus:
		parents(s.Parents)
	case gwv1.TCPRouteStatus:
		parents(s.Parents)
	case gwv1.UDPRouteStatus:
		parents(s.Parents)
	}
	return b.String()
}

func ancestorText(ref gwv1.ParentReference) string {
	text := string(*ref.Kind) + " " + string(ref.Name)
	if ref.SectionName != nil {
		text += "/" + string(*ref.SectionName)
	}
	if ref.Port != nil {
		text += fmt.Sprint(":", *ref.Port)
	}
	return text
}
