package mesh

import (
	"reflect"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gwx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/document"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Mesh is what is remembered of the cluster: every function below is run again only when
// something that it read has changed.
type Mesh struct {
	*cluster.Tables

	gateways *incr.Memo[string, gateway] // by Gateway key
	listenerSets
	secrets *incr.Memo[string, keyPair] // by Secret key

	// By routeKey: a route's rules at Gateways and at Services, what it claims of its parents, and
	// what it gets.
	rules        *incr.Memo[string, resolved]
	serviceBound *incr.Memo[string, resolved]
	claims       *incr.Memo[string, []attached]
	attached     *incr.Memo[string, []attached]

	// takenBy are the routes that a listener took, by takerKey; placedOn those of a virtual host, by
	// its name; frontedBy those of a Service's port, by frontendKey; bytesFrontedBy its TCPRoutes.
	takenBy   *incr.View[string, string]
	placedOn  *incr.View[string, string]
	frontedBy *incr.View[string, string]

	bytesFrontedBy *incr.View[string, string]
	rivalry
	splitting

	// PodsIn are the pods of a sidecars' scope, inbounds what is received there.
	PodsIn   *incr.View[string, string]
	inbounds *incr.Memo[string, Inbound]
	// scopesUnder are the scopes of whose pods a MeshPolicy selects some; Reaches the same, by pairs.
	scopesUnder, Reaches *incr.View[string, string]

	// The ranges of pods' IPs as nodes tell them and as they were seen, each as one group, and the
	// nodes at an address.
	nodeRanges, seenRanges *incr.View[string, string]
	nodesAt                *incr.Index[string, string]
	// servicesBy are the Services by their whole selector, as selection tells; labelsBy, by namespace, the
	// names of the labels that some Service's selector has.
	servicesBy *incr.Index[string, string]
	labelsBy   *incr.View[string, string]
	podIDs     *incr.Memo[string, PodIdentity]
	endpoints  *incr.Memo[string, addresses] // by addressesKey

	// Wants are what the proxies of a scope must be able to see, as Want keys: because of a route at a
	// Gateway or of a Service, a Gateway, a ListenerSet, a Service, a pod's sidecar, an address that was asked for; and always.
	RouteWants, ServiceRouteWants, GatewayWants, SetWants, ServiceWants, SidecarWants, DemandWants *incr.View[string, string]
	MeshWants                                                                                      *incr.Set[string]

	meshes *incr.Memo[string, pki.Settings] // by name
	trust  *incr.Memo[string, pki.State]    // by key of the ConfigMap
	leaves *incr.Memo[string, leaf]         // by ServiceAccount

	// PodAccounts are the pods in the mesh by their ServiceAccount, GatewayAccounts the Gateways by
	// that of their proxies: those who are to have an identity.
	PodAccounts     *incr.View[string, string]
	GatewayAccounts *incr.View[string, string]

	// backendPoliciesOn are the BackendTLSPolicies about a Service, by its key, sentBy the routes whose
	// Gateways send to it; authorities are those of a ConfigMap or a Secret, by authoritiesIn.
	backendPoliciesOn *incr.Index[string, string]
	// trafficPoliciesOn are the XBackendTrafficPolicies about a Service, by its key.
	trafficPoliciesOn *incr.Index[string, string]
	sentInMesh        *incr.View[string, string] // the routes by which sidecars send to a Service
	sentBy            *incr.View[string, string]
	authorities       *incr.Memo[string, authorities]

	accesses
	localities
	asking

	// policiesOn are the MeshPolicies that are about a subject, by the subject's group; sharedOn those with
	// a section that has Shared about routes, by the RouteConfigurations that hold these.
	policiesOn *incr.Index[string, string]
	sharedOn   *incr.View[string, string]
	// routedBy are the routes that a Gateway's RouteConfiguration holds, windows what a section that tells rules
	// apart has for the rules of one, by windowsKey.
	routedBy *incr.View[string, string]
	windows  *incr.Memo[string, []room.Decided]
	// Moments are those at which sections of MeshPolicies end by themselves (see ParseMoment).
	Moments *incr.Index[string, string]
	// Modules are what sections of MeshPolicies have fetched, each by its room.Remote's Key.
	Modules *incr.Index[string, string]
	// referents are what was found of what a section of a policy refers to, by referentsKey.
	referents *incr.Memo[string, []room.Referent]
	// laws are what was read of a section of a policy, by section and policy; rulings what one comes to for who is
	// called, by rulingKey.
	laws    *incr.Memo[string, room.Law]
	rulings *incr.Memo[string, any]
	// data are what policies find in documents, by dataKey.
	data *incr.Memo[string, document.Found]
	// chosen are the policies that select a port of a workload, by chosenKey.
	chosen *incr.Memo[string, []selected]
	// guards are those of the ports of a scope's pods.
	guards *incr.Memo[string, InboundGuards]
	// modules are those of policies in Rego, by moduleKey.
	modules *incr.Memo[string, module]
	// policiesWith are those with a section about traffic, by sectionKey.
	policiesWith *incr.Index[string, string]
}

// New lays the functions over the tables, which must still be empty.
func New(t *cluster.Tables) *Mesh {
	m := &Mesh{Tables: t}
	m.policiesOn = incr.NewIndex(t.MeshPolicies, func(_ string, p *v1alpha1.MeshPolicy) []string { return policyGroups(p) })
	m.Moments = incr.NewIndex(t.MeshPolicies, func(_ string, p *v1alpha1.MeshPolicy) []string { return momentsOf(p) })
	m.policiesWith = incr.NewIndex(t.MeshPolicies, func(_ string, p *v1alpha1.MeshPolicy) []string { return policySections(p) })
	m.Modules = incr.NewIndex(t.MeshPolicies, func(_ string, p *v1alpha1.MeshPolicy) []string { return modulesOf(p) })
	m.referents = incr.NewMemo(t.Graph, "referents", same[[]room.Referent], m.findReferents)
	m.laws = incr.NewMemo(t.Graph, "law", func(_, _ room.Law) bool { return false }, m.readLaw)
	m.data = incr.NewMemo(t.Graph, "data", same[document.Found], m.findData)
	m.chosen = incr.NewMemo(t.Graph, "chosen", same[[]selected], m.findChosen)
	m.guards = incr.NewMemo(t.Graph, "guards", same[InboundGuards], m.findGuards)
	m.modules = incr.NewMemo(t.Graph, "modules", same[module], m.findModule)
	m.rulings = incr.NewMemo(t.Graph, "ruling", same[any], m.ruling)
	m.backendPoliciesOn = incr.NewIndex(t.BackendTLSPolicies, func(_ string, p *gwv1.BackendTLSPolicy) []string { return backendServices(p) })
	m.trafficPoliciesOn = incr.NewIndex(t.XBackendTrafficPolicies, func(_ string, p *gwx.XBackendTrafficPolicy) []string { return trafficServices(p) })
	m.authorities = incr.NewMemo(t.Graph, "authorities", same[authorities], m.readAuthorities)
	m.endpoints = incr.NewMemo(t.Graph, "endpoints", sameAddresses, m.collect)
	m.secrets = incr.NewMemo(t.Graph, "secret", same[keyPair], m.keyPair)
	m.gateways = incr.NewMemo(t.Graph, "gateway", same[gateway], m.gateway)
	m.listenerSets = m.newListenerSets()
	m.rules = incr.NewMemo(t.Graph, "rules", same[resolved], func(q *incr.Query, k string) resolved { return m.resolve(q, k, false) })
	m.serviceBound = incr.NewMemo(t.Graph, "serviceBound", same[resolved], func(q *incr.Query, k string) resolved { return m.resolve(q, k, true) })
	m.claims = incr.NewMemo(t.Graph, "claims", same[[]attached], m.claim)
	m.attached = incr.NewMemo(t.Graph, "attached", same[[]attached], m.attach)
	m.rivalry = m.newRivalry()
	m.takenBy = incr.NewView(m.routes(), "takenBy", m.takers)
	m.placedOn = incr.NewView(m.routes(), "placedOn", m.placements)
	m.frontedBy = incr.NewView(incr.Union(m.ofKind(HTTPRoute), m.ofKind(GRPCRoute)), "frontedBy", m.frontends)
	m.bytesFrontedBy = incr.NewView(m.ofKind(TCPRoute), "bytesFrontedBy", m.frontends)
	m.splitting = m.newSplitting()
	m.sharedOn = incr.NewView(t.MeshPolicies, "sharedOn", m.sharedAt)
	m.routedBy = incr.NewView(incr.Union(m.ofKind(HTTPRoute), m.ofKind(GRPCRoute)), "routedBy", m.routings)
	m.windows = incr.NewMemo(t.Graph, "windows", same[[]room.Decided], m.windowsOf)
	m.sentBy = incr.NewView(m.routes(), "sentBy", m.destinations)
	m.sentInMesh = incr.NewView(incr.Union(m.ofKind(HTTPRoute), m.ofKind(GRPCRoute)), "sentInMesh", m.meshDestinations)
	m.RouteWants = incr.NewView(m.routes(), "routeWants", m.routeWants)
	m.ServiceRouteWants = incr.NewView(incr.Union(m.routes(), m.ofKind(TrafficSplit)), "serviceRouteWants", m.serviceRouteWants)
	m.GatewayWants = incr.NewView(t.Gateways, "gatewayWants", m.gatewayWants)
	m.SetWants = incr.NewView(t.ListenerSets, "setWants", m.setWants)
	m.laySidecars(t)
	m.meshes = incr.NewMemo(t.Graph, "settings", same[pki.Settings], m.readSettings)
	m.trust = incr.NewMemo(t.Graph, "trust", same[pki.State], m.readTrust)
	m.leaves = incr.NewMemo(t.Graph, "leaf", same[leaf], m.leaf)
	m.PodAccounts = incr.NewView(t.Pods, "podAccount", m.podAccount)
	m.GatewayAccounts = incr.NewView(t.Gateways, "gatewayAccount", m.gatewayAccount)
	return m
}

// laySidecars lays what concerns sidecars.
func (m *Mesh) laySidecars(t *cluster.Tables) {
	m.nodesAt = incr.NewIndex(t.Nodes, nodeAddresses)
	m.nodeRanges = incr.NewView(incr.NewIndex(t.Nodes, nodeRanges), "nodeRanges", all)
	m.seenRanges = incr.NewView(incr.NewIndex(t.Pods, seenRanges), "seenRanges", all)
	m.servicesBy = incr.NewIndex(t.Services, selection)
	m.labelsBy = incr.NewView(incr.NewIndex(t.Services, selectorLabels), "labelsBy", namespaceAlone)
	m.podIDs = incr.NewMemo(t.Graph, "podIdentity", same[PodIdentity], m.podIdentity)
	m.inbounds = incr.NewMemo(t.Graph, "inbound", same[Inbound], m.inbound)
	m.PodsIn = incr.NewView(t.Pods, "podsIn", m.podScopes)
	m.scopesUnder = incr.NewView[string](m.PodsIn, "policiesUnder", m.policiesUnder)
	m.Reaches = incr.NewView[string](m.PodsIn, "reaches", m.reaches)
	m.ServiceWants = incr.NewView(t.Services, "serviceWants", m.serviceWants)
	m.SidecarWants = incr.NewView[string](m.PodsIn, "sidecarWants", m.sidecarWants)
	m.accesses = m.layAccess()
	m.localities = m.layLocalities(t)
	m.asking = layAsking(t)
	m.DemandWants = incr.NewView(t.Demands, "demandWants", m.demandWants)
	m.MeshWants = incr.NewSet[string](t.Graph)
	for _, w := range meshWants() {
		m.MeshWants.Add(w)
	}
}

// same compares results, whose Kubernetes objects are pointers into caches: equal pointers are
// quick to tell, and different ones are compared by content.
func same[T any](a, b T) bool { return reflect.DeepEqual(a, b) }

// Memo makes one of m's functions of a name remembered, for who turns the model into resources.
func Memo[V any](m *Mesh, name string, fn func(q *incr.Query, k string) V) *incr.Memo[string, V] {
	return incr.NewMemo(m.Graph, name, same[V], fn)
}
