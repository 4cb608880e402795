package mesh

import (
	"reflect"

	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/incr"
)

// Mesh is what is remembered of the cluster: every function below is run again only when
// something that it read has changed.
type Mesh struct {
	*cluster.Tables

	gateways *incr.Memo[string, gateway] // by Gateway key
	secrets  *incr.Memo[string, keyPair] // by Secret key

	// By routeKey: a route's rules at Gateways and at Services, what it claims of its parents, and
	// what it gets.
	rules        *incr.Memo[string, resolved]
	serviceBound *incr.Memo[string, resolved]
	claims       *incr.Memo[string, []attached]
	attached     *incr.Memo[string, []attached]

	// takenBy are the routes that a listener took, by takerKey; placedOn those of a virtual host, by
	// its name; frontedBy those of a Service's port, by frontendKey.
	takenBy   *incr.View[string, string]
	placedOn  *incr.View[string, string]
	frontedBy *incr.View[string, string]
	rivalry

	// RouteWants and GatewayWants are what the proxies of a scope must be able to see because of a
	// route or a Gateway: Want keys.
	RouteWants   *incr.View[string, string]
	GatewayWants *incr.View[string, string]
}

// New lays the functions over the tables, which must still be empty.
func New(t *cluster.Tables) *Mesh {
	m := &Mesh{Tables: t}
	m.secrets = incr.NewMemo(t.Graph, "secret", same[keyPair], m.keyPair)
	m.gateways = incr.NewMemo(t.Graph, "gateway", same[gateway], m.gateway)
	m.rules = incr.NewMemo(t.Graph, "rules", same[resolved], func(q *incr.Query, k string) resolved { return m.resolve(q, k, false) })
	m.serviceBound = incr.NewMemo(t.Graph, "serviceBound", same[resolved], func(q *incr.Query, k string) resolved { return m.resolve(q, k, true) })
	m.claims = incr.NewMemo(t.Graph, "claims", same[[]attached], m.claim)
	m.attached = incr.NewMemo(t.Graph, "attached", same[[]attached], m.attach)
	m.rivalry = m.newRivalry()
	m.takenBy = incr.NewView(m.routes(), "takenBy", m.takers)
	m.placedOn = incr.NewView(m.routes(), "placedOn", m.placements)
	m.frontedBy = incr.NewView(m.routes(), "frontedBy", m.frontends)
	m.RouteWants = incr.NewView(m.routes(), "routeWants", m.routeWants)
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
