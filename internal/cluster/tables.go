// Package cluster holds the Kubernetes objects that Weft reads, as tables and indexes.
//
//	informers → feeds → Inbox (the latest of each object) → Tables, one commit
//
// Objects are shared with the informers' caches: nobody alters them.
package cluster

import (
	"bytes"
	"slices"

	certv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	split "github.com/weft-mesh/weft/api/smi/split/v1alpha4"
	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/pki"
)

// Tables are the inputs. A key is "namespace/name", or "name" where a kind has no namespace.
type Tables struct {
	Graph *incr.Graph

	GatewayClasses  *incr.Table[string, *gwv1.GatewayClass]
	Gateways        *incr.Table[string, *gwv1.Gateway]
	HTTPRoutes      *incr.Table[string, *gwv1.HTTPRoute]
	GRPCRoutes      *incr.Table[string, *gwv1.GRPCRoute]
	TLSRoutes       *incr.Table[string, *gwv1.TLSRoute]
	TCPRoutes       *incr.Table[string, *gwv1.TCPRoute]
	UDPRoutes       *incr.Table[string, *gwv1.UDPRoute]
	ListenerSets    *incr.Table[string, *gwv1.ListenerSet]
	ReferenceGrants *incr.Table[string, *gwv1.ReferenceGrant]
	// BackendTLSPolicies say how a Gateway speaks TLS to a Service.
	BackendTLSPolicies *incr.Table[string, *gwv1.BackendTLSPolicy]
	Services           *incr.Table[string, *corev1.Service]
	EndpointSlices     *incr.Table[string, *discoveryv1.EndpointSlice]
	Pods               *incr.Table[string, *corev1.Pod]
	Nodes              *incr.Table[string, *corev1.Node]
	Namespaces         *incr.Table[string, *corev1.Namespace]
	Secrets            *incr.Table[string, *corev1.Secret]
	ConfigMaps         *incr.Table[string, *corev1.ConfigMap]
	Certificates       *incr.Table[string, *certv1.Certificate]
	MeshPolicies       *incr.Table[string, *v1alpha1.MeshPolicy]
	// XBackendTrafficPolicies and XMeshes are of the experimental channel.
	XBackendTrafficPolicies *incr.Table[string, *gwx.XBackendTrafficPolicy]
	XMeshes                 *incr.Table[string, *gwx.XMesh]
	// TrafficSplits and HTTPRouteGroups are SMI's.
	TrafficSplits   *incr.Table[string, *split.TrafficSplit]
	HTTPRouteGroups *incr.Table[string, *specs.HTTPRouteGroup]
	// So are TrafficTargets, and TCPRoutes and UDPRoutes of that group.
	TrafficTargets *incr.Table[string, *access.TrafficTarget]
	SMITCPRoutes   *incr.Table[string, *specs.TCPRoute]
	SMIUDPRoutes   *incr.Table[string, *specs.UDPRoute]
	// Deployments are those of Gateways' proxies.
	Deployments *incr.Table[string, *appsv1.Deployment]

	// Meshes is the one Mesh, by name.
	Meshes *incr.Table[string, *v1alpha1.Mesh]

	// Leaves are the certificates that the operator signed itself, by ServiceAccount.
	Leaves *incr.Table[string, Leaf]

	// Bundles are what the CRDs of an API group say of themselves, by group.
	Bundles *incr.Table[string, Bundle]

	// Quarantines are the routes that a proxy refused, by kind/namespace/name: a fact learned from
	// NACKs, not an object.
	Quarantines *incr.Table[string, Quarantine]

	// Refusals are the listeners that a proxy refused, by the resource's name: a fact too.
	Refusals *incr.Table[string, Quarantine]

	// Holdings are how far MeshPolicies have come among the proxies, by the policy's key: a fact too.
	Holdings *incr.Table[string, Holding]

	// Fetched are the texts that MeshPolicies have fetched, by what mesh.Modules calls them: facts too.
	Fetched *incr.Table[string, Fetched]

	// Passed are the moments that MeshPolicies wait for and that have passed, by what mesh.Moments calls
	// them: a fact too.
	Passed *incr.Table[string, struct{}]

	// GoodSecrets are the Secrets that held a usable certificate at some time, by key.
	GoodSecrets *incr.Table[string, struct{}]

	// Demands are the addresses, "ip:port", that a proxy asked for by a pod's own IP.
	Demands *incr.Table[string, struct{}]

	// SlicesOf are the EndpointSlices of a Service, GrantsIn the ReferenceGrants of a namespace, and
	// PodsAt the pods that have an IP of their own.
	SlicesOf *incr.Index[string, string]
	GrantsIn *incr.Index[string, string]
	PodsAt   *incr.Index[string, string]
}

// Bundle is the release of a project that CRDs are of.
type Bundle struct {
	Version string // may be empty
	Channel string // of Gateway API: standard or experimental; empty where the CRDs do not agree
}

// Quarantine says that a proxy refused what one generation of a route was translated to.
type Quarantine struct {
	Generation int64
	Proxy      string // namespace/pod
	Detail     string // Envoy's own words
}

// Fetched is what came of fetching a text.
type Fetched struct {
	Text    string
	Problem string // why there is none, in words that follow what was fetched; "": there is one
	Awaited bool   // with a Problem: it is fetched again, and may come by itself
}

// Leaf is a certificate that the operator signed with the mesh's intermediate authority.
type Leaf struct {
	Chain, Key []byte     // PEM
	Issuer     pki.Issuer // of the intermediate
}

func sameLeaf(a, b Leaf) bool {
	return a.Issuer == b.Issuer && bytes.Equal(a.Chain, b.Chain) && bytes.Equal(a.Key, b.Key)
}

// Holding counts the connected proxies that one generation of a MeshPolicy reaches.
type Holding struct {
	Generation   int64
	Total        int32
	Acknowledged int32           // of Total, how many have applied it
	Refused      []PolicyRefusal // ordered, at most 32; those that are not listed are not Acknowledged either
}

// PolicyRefusal says that a proxy refused a resource that a policy shaped.
type PolicyRefusal struct {
	Proxy    string // namespace/pod
	Resource string
	Detail   string // Envoy's own words
}

// Same says whether two of them say the same.
func (h Holding) Same(o Holding) bool {
	return h.Generation == o.Generation && h.Total == o.Total && h.Acknowledged == o.Acknowledged && slices.Equal(h.Refused, o.Refused)
}

// NewTables makes empty tables on a graph of their own.
func NewTables() *Tables {
	g := &incr.Graph{}
	t := &Tables{
		Graph: g,

		XBackendTrafficPolicies: incr.NewTable[string](g, sameSpec[*gwx.XBackendTrafficPolicy]),
		XMeshes:                 incr.NewTable[string](g, sameSpec[*gwx.XMesh]),

		GatewayClasses:     incr.NewTable[string](g, sameSpec[*gwv1.GatewayClass]),
		Gateways:           incr.NewTable[string](g, sameSpec[*gwv1.Gateway]),
		HTTPRoutes:         incr.NewTable[string](g, sameSpec[*gwv1.HTTPRoute]),
		GRPCRoutes:         incr.NewTable[string](g, sameSpec[*gwv1.GRPCRoute]),
		TLSRoutes:          incr.NewTable[string](g, sameSpec[*gwv1.TLSRoute]),
		TCPRoutes:          incr.NewTable[string](g, sameSpec[*gwv1.TCPRoute]),
		UDPRoutes:          incr.NewTable[string](g, sameSpec[*gwv1.UDPRoute]),
		ListenerSets:       incr.NewTable[string](g, sameSpec[*gwv1.ListenerSet]),
		ReferenceGrants:    incr.NewTable[string](g, sameSpec[*gwv1.ReferenceGrant]),
		BackendTLSPolicies: incr.NewTable[string](g, sameSpec[*gwv1.BackendTLSPolicy]),
		Services:           incr.NewTable[string](g, sameVersion[*corev1.Service]),
		EndpointSlices:     incr.NewTable[string](g, sameVersion[*discoveryv1.EndpointSlice]),
		Pods:               incr.NewTable[string](g, samePod),
		Nodes:              incr.NewTable[string](g, sameNode),
		Demands:            incr.NewTable[string](g, func(a, b struct{}) bool { return true }),
		Namespaces:         incr.NewTable[string](g, sameLabels[*corev1.Namespace]),
		Secrets:            incr.NewTable[string](g, sameVersion[*corev1.Secret]),
		ConfigMaps:         incr.NewTable[string](g, sameVersion[*corev1.ConfigMap]),
		Certificates:       incr.NewTable[string](g, sameVersion[*certv1.Certificate]),
		Meshes:             incr.NewTable[string](g, sameSpec[*v1alpha1.Mesh]),
		Leaves:             incr.NewTable[string](g, sameLeaf),
		MeshPolicies:       incr.NewTable[string](g, sameSpec[*v1alpha1.MeshPolicy]),
		TrafficSplits:      incr.NewTable[string](g, sameSpec[*split.TrafficSplit]),
		HTTPRouteGroups:    incr.NewTable[string](g, sameSpec[*specs.HTTPRouteGroup]),
		TrafficTargets:     incr.NewTable[string](g, sameSpec[*access.TrafficTarget]),
		SMITCPRoutes:       incr.NewTable[string](g, sameSpec[*specs.TCPRoute]),
		SMIUDPRoutes:       incr.NewTable[string](g, sameSpec[*specs.UDPRoute]),
		Holdings:           incr.NewTable[string](g, Holding.Same),
		Bundles:            incr.NewTable[string](g, func(a, b Bundle) bool { return a == b }),
		Refusals:           incr.NewTable[string](g, func(a, b Quarantine) bool { return a == b }),
		Deployments:        incr.NewTable[string](g, sameAvailability),
		Fetched:            incr.NewTable[string](g, func(a, b Fetched) bool { return a == b }),
		Passed:             incr.NewTable[string](g, func(a, b struct{}) bool { return true }),
		GoodSecrets:        incr.NewTable[string](g, func(a, b struct{}) bool { return true }),
		Quarantines:        incr.NewTable[string](g, func(a, b Quarantine) bool { return a == b }),
	}
	t.SlicesOf = incr.NewIndex(t.EndpointSlices, func(_ string, s *discoveryv1.EndpointSlice) []string {
		return []string{s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]}
	})
	t.GrantsIn = incr.NewIndex(t.ReferenceGrants, func(_ string, r *gwv1.ReferenceGrant) []string {
		return []string{r.Namespace}
	})
	t.PodsAt = incr.NewIndex(t.Pods, func(_ string, p *corev1.Pod) []string { return addresses(p) })
	return t
}

// addresses are the IPs that a pod shares with no other: none on its node's network, none once it
// has ended.
func addresses(p *corev1.Pod) (ips []string) {
	if p.Spec.HostNetwork || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return nil
	}
	for _, ip := range p.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	return ips
}

// sameVersion holds for two readings of one state of one object.
func sameVersion[T metav1.Object](a, b T) bool {
	return a.GetUID() == b.GetUID() && a.GetResourceVersion() == b.GetResourceVersion() && a.GetResourceVersion() != ""
}

// sameSpec overlooks status: Weft's own writes of it must not wake the graph.
func sameSpec[T metav1.Object](a, b T) bool {
	return a.GetUID() == b.GetUID() && a.GetGeneration() == b.GetGeneration() && a.GetGeneration() != 0 &&
		equality.Semantic.DeepEqual(a.GetAnnotations(), b.GetAnnotations()) &&
		sameLabels(a, b) && a.GetDeletionTimestamp().IsZero() == b.GetDeletionTimestamp().IsZero()
}

func sameLabels[T metav1.Object](a, b T) bool {
	return equality.Semantic.DeepEqual(a.GetLabels(), b.GetLabels())
}

// Ready holds for a pod that is ready by its own object, from which its EndpointSlices learn it.
func Ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// SaysReady holds for a pod whose last word was that it is ready. When a node falls silent, the control
// plane sets its pods' Ready to False by itself, and leaves ContainersReady as it was. When the node's
// kubelet is back, it does not know of a pod that is not Ready whether it is, says no, and probes it:
// ContainersReady became False after Ready did, which happens in no other way without readiness gates.
func SaysReady(p *corev1.Pod) bool {
	said := map[corev1.PodConditionType]corev1.PodCondition{}
	for _, c := range p.Status.Conditions {
		said[c.Type] = c
	}
	for _, gate := range p.Spec.ReadinessGates {
		if said[gate.ConditionType].Status != corev1.ConditionTrue {
			return false
		}
	}
	ready, containers := said[corev1.PodReady], said[corev1.ContainersReady]
	notProbedYet := len(p.Spec.ReadinessGates) == 0 && ready.Status == corev1.ConditionFalse &&
		containers.Status == corev1.ConditionFalse && ready.LastTransitionTime.Before(&containers.LastTransitionTime)
	return containers.Status == corev1.ConditionTrue || notProbedYet
}

// samePod looks at what Weft reads of a pod. What it is made of does not change, but for images.
func samePod(a, b *corev1.Pod) bool {
	return a.UID == b.UID && a.DeletionTimestamp.IsZero() == b.DeletionTimestamp.IsZero() &&
		a.Spec.NodeName == b.Spec.NodeName && a.Status.Phase == b.Status.Phase && SaysReady(a) == SaysReady(b) && Ready(a) == Ready(b) &&
		slices.Equal(a.Status.PodIPs, b.Status.PodIPs) && sameLabels(a, b) &&
		equality.Semantic.DeepEqual(a.Annotations, b.Annotations)
}

// sameNode looks at a node's labels, its addresses and the ranges of its pods': all else in it changes often.
func sameNode(a, b *corev1.Node) bool {
	return a.UID == b.UID && sameLabels(a, b) && slices.Equal(a.Spec.PodCIDRs, b.Spec.PodCIDRs) && slices.Equal(a.Status.Addresses, b.Status.Addresses)
}

func sameAvailability(a, b *appsv1.Deployment) bool {
	return a.UID == b.UID && (a.Status.AvailableReplicas > 0) == (b.Status.AvailableReplicas > 0)
}
