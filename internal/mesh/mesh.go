package mesh

import (
	"reflect"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
)

// Mesh is what is remembered of the cluster: every function below is run again only when
// something that it read has changed.
type Mesh struct {
	*cluster.Tables

	gateways *incr.Memo[string, gateway]    // by Gateway key
	secrets  *incr.Memo[string, keyPair]    // by Secret key
	rules    *incr.Memo[string, resolved]   // by HTTPRoute key
	attached *incr.Memo[string, []attached] // by HTTPRoute key

	// RoutesOf are the HTTPRoutes that name a Gateway as parent; takenBy those that one of its
	// listeners took (gateway|listener); placedOn those of a virtual host, by its name.
	RoutesOf *incr.Index[string, string]
	takenBy  *incr.View[string, string]
	placedOn *incr.View[string, string]

	// policiesOn are the MeshPolicies that are about a subject, by the subject's group.
	policiesOn *incr.Index[string, string]

	// RouteWants and GatewayWants are what the proxies of a scope must be able to see because of a
	// route or a Gateway: Want keys.
	RouteWants   *incr.View[string, string]
	GatewayWants *incr.View[string, string]
}

// New lays the functions over the tables, which must still be empty.
func New(t *cluster.Tables) *Mesh {
	m := &Mesh{Tables: t}
	m.RoutesOf = incr.NewIndex(t.HTTPRoutes, func(_ string, r *gwv1.HTTPRoute) []string { return parents(r) })
	m.policiesOn = incr.NewIndex(t.MeshPolicies, func(_ string, p *v1alpha1.MeshPolicy) []string { return policyGroups(p) })
	m.secrets = incr.NewMemo(t.Graph, "secret", same[keyPair], m.keyPair)
	m.gateways = incr.NewMemo(t.Graph, "gateway", same[gateway], m.gateway)
	m.rules = incr.NewMemo(t.Graph, "rules", same[resolved], m.resolve)
	m.attached = incr.NewMemo(t.Graph, "attached", same[[]attached], m.attach)
	m.takenBy = incr.NewView(t.HTTPRoutes, "takenBy", m.takers)
	m.placedOn = incr.NewView(t.HTTPRoutes, "placedOn", m.placements)
	m.RouteWants = incr.NewView(t.HTTPRoutes, "routeWants", m.routeWants)
	m.GatewayWants = incr.NewView(t.Gateways, "gatewayWants", m.gatewayWants)
	return m
}

// same compares results, whose Kubernetes objects are pointers into caches: equal pointers are
// quick to tell, and different ones are compared by content.
func same[T any](a, b T) bool { return reflect.DeepEqual(a, b) }

// Memo makes one of m's functions of a name remembered, for who turns the model into resources.
func Memo[V any](m *Mesh, name string, fn func(q *incr.Query, k string) V) *incr.Memo[string, V] {
	return incr.NewMemo(m.Graph, name, same[V], fn)
}
