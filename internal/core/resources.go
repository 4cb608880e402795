package core

import (
	"maps"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// kinds gives each kind of resource its type and its builder.
var kinds = map[mesh.Kind]struct {
	message proto.Message
	build   func(m *mesh.Mesh, q *incr.Query, name string) proto.Message
}{
	mesh.KindCluster: {&clusterv3.Cluster{}, func(m *mesh.Mesh, q *incr.Query, name string) proto.Message {
		return envoy.Cluster(m.Cluster(q, name))
	}},
	mesh.KindEndpoints: {&endpointv3.ClusterLoadAssignment{}, func(m *mesh.Mesh, q *incr.Query, name string) proto.Message {
		return envoy.Endpoints(m.Endpoints(q, name))
	}},
	mesh.KindSecret: {&tlsv3.Secret{}, func(m *mesh.Mesh, q *incr.Query, name string) proto.Message {
		if s, ok := m.SecretByName(q, name); ok {
			return envoy.Secret(s)
		}
		return nil
	}},
	mesh.KindListener: {&listenerv3.Listener{}, func(m *mesh.Mesh, q *incr.Query, name string) proto.Message {
		return envoy.Listener(m.Listener(q, name))
	}},
	mesh.KindRoutes: {&routev3.RouteConfiguration{}, func(_ *mesh.Mesh, _ *incr.Query, name string) proto.Message {
		return envoy.RouteConfiguration(name)
	}},
	mesh.KindVirtualHost: {&routev3.VirtualHost{}, func(m *mesh.Mesh, q *incr.Query, name string) proto.Message {
		return envoy.VirtualHost(m.VirtualHost(q, name))
	}},
}

// typeURL is the resource type of a kind.
func typeURL(k mesh.Kind) string {
	return "type.googleapis.com/" + string(kinds[k].message.ProtoReflect().Descriptor().FullName())
}

// rendered is a resource as it goes out, and the routes that it was made of.
type rendered struct {
	resource *discovery.Resource
	from     map[string]int64
	scope    string // of the proxies that see it
}

func (r rendered) version() string {
	if r.resource == nil {
		return ""
	}
	return r.resource.Version
}

func sameRendered(a, b rendered) bool {
	return a.version() == b.version() && a.scope == b.scope && maps.Equal(a.from, b.from)
}

// publishResources keeps every resource that some scope wants, and each scope's view.
func (c *Core) publishResources() {
	wanted := map[mesh.Kind]*incr.Set[string]{}
	for k := range kinds {
		wanted[k] = incr.NewSet[string](c.tables.Graph)
	}
	seen := mesh.Memo(c.mesh, "seen", func(*incr.Query, string) struct{} { return struct{}{} })
	incr.Keep(seen, func(k string, _ struct{}, has bool) {
		w := mesh.ParseWant(k)
		c.see(w, has)
		if has {
			wanted[w.Kind].Add(w.Name)
		} else {
			wanted[w.Kind].Remove(w.Name)
		}
	}, c.mesh.RouteWants, c.mesh.GatewayWants)
	for k, set := range wanted {
		c.publishKind(k, set)
	}
}

func (c *Core) see(w mesh.Want, has bool) {
	if c.change.Scopes[w.Scope] == nil {
		c.change.Scopes[w.Scope] = map[xds.Name]*xds.Variant{}
	}
	var ordinary *xds.Variant
	if has {
		ordinary = new(xds.Variant)
	}
	c.change.Scopes[w.Scope][xds.Name{Type: typeURL(w.Kind), Name: w.Name}] = ordinary
}

func (c *Core) publishKind(k mesh.Kind, wanted *incr.Set[string]) {
	url := typeURL(k)
	made := incr.NewMemo(c.tables.Graph, string(k), sameRendered, func(q *incr.Query, name string) rendered {
		message := kinds[k].build(c.mesh, q, name)
		if message == nil {
			return rendered{}
		}
		out := rendered{resource: xds.Marshal(name, message)}
		if k == mesh.KindVirtualHost {
			out.from, out.scope = c.mesh.Contributors(q, name), c.mesh.ScopeOf(q, name)
		}
		return out
	})
	incr.Keep(made, func(name string, r rendered, has bool) {
		if k == mesh.KindSecret && !c.usable(name, r, has) {
			return
		}
		c.change.Resources[xds.Resource{Name: xds.Name{Type: url, Name: name}}] = r.resource
		if k == mesh.KindVirtualHost {
			c.quarantine.rendered(name, r, has)
		}
	}, wanted)
}

// usable notes which Secrets hold a certificate. One that holds none any more is not published:
// the last that did stays.
func (c *Core) usable(name string, r rendered, has bool) bool {
	if r.resource != nil {
		c.tables.GoodSecrets.Set(strings.TrimPrefix(name, "secret/"), struct{}{})
	}
	return !has || r.resource != nil
}

// publishStatuses keeps the status of every object of ours, and the Certificates that Gateways ask for.
func (c *Core) publishStatuses() {
	keepStatus(c, "GatewayClass", c.mesh.ClassStatus, c.tables.GatewayClasses)
	keepStatus(c, "Gateway", c.mesh.GatewayStatus, c.tables.Gateways)
	keepStatus(c, mesh.HTTPRoute, c.mesh.HTTPRouteStatus, c.tables.HTTPRoutes)
	keepStatus(c, mesh.GRPCRoute, c.mesh.GRPCRouteStatus, c.tables.GRPCRoutes)
	incr.Keep(mesh.Memo(c.mesh, "certificates", c.mesh.Certificates), func(k string, wanted []mesh.Certificate, has bool) {
		if has {
			c.Certificates.Put(k, Certificates{k, wanted})
		} else {
			c.Certificates.Forget(k, Certificates{Gateway: k})
		}
	}, c.tables.Gateways)
	incr.Keep(mesh.Memo(c.mesh, "scope", c.mesh.Scope), c.scoped(), c.tables.Gateways)
}

// scoped keeps the scopes in step with the Gateways.
func (c *Core) scoped() func(gateway, scope string, has bool) {
	of := map[string]string{}
	return func(gateway, scope string, has bool) {
		if was := of[gateway]; was != "" {
			c.setScope(was, false)
		}
		delete(of, gateway)
		if has && scope != "" {
			of[gateway] = scope
			c.setScope(scope, true)
		}
	}
}

func keepStatus[S any](c *Core, kind string, status func(*incr.Query, string) *S, of incr.Live[string]) {
	incr.Keep(mesh.Memo(c.mesh, kind+" status", status), func(k string, s *S, has bool) {
		st := mesh.Status{Kind: kind, Key: k}
		if !has {
			c.Statuses.Forget(kind+" "+k, st)
			return
		}
		if s != nil {
			st.Value = *s
		}
		c.Statuses.Put(kind+" "+k, st)
	}, of)
}
