package core

import (
	"maps"
	"slices"
	"strings"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

// typeURL is the resource type of a kind.
func typeURL(k mesh.Kind) string {
	return "type.googleapis.com/" + string(kinds[k].message.ProtoReflect().Descriptor().FullName())
}

// rendered is a resource as it goes out, and the routes and policies that it was made of.
type rendered struct {
	resource *discovery.Resource
	from     map[string]int64
	scope    string   // of the proxies that see it
	policies []string // MeshPolicies about traffic, by their keys
}

func (r rendered) version() string {
	if r.resource == nil {
		return ""
	}
	return r.resource.Version
}

func sameRendered(a, b rendered) bool {
	return a.version() == b.version() && a.scope == b.scope && maps.Equal(a.from, b.from) && slices.Equal(a.policies, b.policies)
}

// publishResources keeps every resource that some scope wants, and each scope's view.
func (c *Core) publishResources() {
	wanted := map[mesh.Kind]*incr.Set[string]{}
	for k := range kinds {
		wanted[k] = incr.NewSet[string](c.tables.Graph)
	}
	local := incr.NewSet[string](c.tables.Graph) // the Wants of which there may be others by locality
	keep := func(name string, told func(k string, w mesh.Want, has bool), sources ...incr.Live[string]) {
		incr.Keep(mesh.Memo(c.mesh, name, func(*incr.Query, string) struct{} { return struct{}{} }), func(k string, _ struct{}, has bool) {
			w := mesh.ParseWant(k)
			c.see(w, has)
			c.quotaSeen(w, has)
			count(wanted[w.Kind], variantKey(w), has)
			told(k, w, has)
		}, sources...)
	}
	keep("seen", func(k string, w mesh.Want, has bool) {
		if w.Kind == mesh.KindEndpoints || w.Kind == mesh.KindRoutes || w.Kind == mesh.KindVirtualHost {
			count(local, k, has)
		}
	}, c.mesh.RouteWants, c.mesh.ServiceRouteWants, c.mesh.GatewayWants, c.mesh.SetWants, c.mesh.ServiceWants, c.mesh.SidecarWants, c.mesh.DemandWants, c.mesh.MeshWants)
	keep("seenThere", func(string, mesh.Want, bool) {}, incr.NewView(local, "localWants", c.mesh.LocalWants))
	for k, set := range wanted {
		c.publishKind(k, set)
	}
}

func count(in *incr.Set[string], k string, has bool) {
	if has {
		in.Add(k)
	} else {
		in.Remove(k)
	}
}

// variantKey is a key of the resources of one kind: name and variant.
func variantKey(w mesh.Want) string { return w.Name + "\x00" + w.Variant }

func parseVariantKey(key string) (name, variant string) {
	name, variant, _ = strings.Cut(key, "\x00")
	return name, variant
}

func (c *Core) see(w mesh.Want, has bool) {
	if c.change.Scopes[w.Scope] == nil {
		c.change.Scopes[w.Scope] = map[xds.Name]*xds.Variant{}
	}
	at := xds.Name{Type: typeURL(w.Kind), Name: w.Name}
	c.policies.seen(xds.Resource{Name: at, Variant: xds.Variant(w.Variant)}, w, has)
	switch now := c.change.Scopes[w.Scope][at]; {
	case has:
		c.change.Scopes[w.Scope][at] = new(xds.Variant(w.Variant))
	case now == nil || *now == xds.Variant(w.Variant): // else another variant in its place was reported before it
		c.change.Scopes[w.Scope][at] = nil
	}
}

func (c *Core) publishKind(k mesh.Kind, wanted *incr.Set[string]) {
	url := typeURL(k)
	made := incr.NewMemo(c.tables.Graph, string(k), sameRendered, func(q *incr.Query, key string) rendered {
		name, variant := parseVariantKey(key)
		message, policies := kinds[k].build(c.mesh, q, name, variant)
		if message == nil {
			return rendered{}
		}
		out := rendered{resource: xds.Marshal(name, message), policies: policies}
		switch k {
		case mesh.KindVirtualHost:
			out.from, out.scope = c.mesh.Contributors(q, name), c.mesh.ScopeOf(q, name, variant)
		case mesh.KindRoutes:
			out.from, out.scope = c.mesh.ServiceContributors(q, name, variant), mesh.RoutesScope(variant)
		}
		return out
	})
	incr.Keep(made, func(key string, r rendered, has bool) {
		name, variant := parseVariantKey(key)
		if k == mesh.KindSecret && !c.usable(name, r, has) || mesh.IsApart(name) && has && r.resource == nil {
			return // what was published stays
		}
		at := xds.Resource{Name: xds.Name{Type: url, Name: name}, Variant: xds.Variant(variant)}
		c.change.Resources[at] = r.resource
		c.policies.shaped(at, r.policies)
		if k == mesh.KindExtension {
			c.quotaMade(name, r.policies)
		}
		if k == mesh.KindVirtualHost || k == mesh.KindRoutes {
			c.quarantine.rendered(at, r, has)
		}
	}, wanted)
}

// usable notes which Secrets hold a certificate. One that holds none any more is not published:
// the last that did stays.
func (c *Core) usable(name string, r rendered, has bool) bool {
	if secret, is := strings.CutPrefix(name, "secret/"); is && r.resource != nil {
		c.tables.GoodSecrets.Set(secret, struct{}{})
	}
	return !has || r.resource != nil
}

// publishStatuses keeps the status of every object of ours, and the Certificates that Gateways ask for.
func (c *Core) publishStatuses() {
	keepStatus(c, "GatewayClass", c.mesh.ClassStatus, c.tables.GatewayClasses)
	keepStatus(c, "Gateway", c.mesh.GatewayStatus, c.tables.Gateways)
	keepStatus(c, mesh.ListenerSet, c.mesh.ListenerSetStatus, c.tables.ListenerSets)
	keepStatus(c, mesh.HTTPRoute, mesh.RouteStatus[gwv1.HTTPRouteStatus](c.mesh, mesh.HTTPRoute), c.tables.HTTPRoutes)
	keepStatus(c, mesh.GRPCRoute, mesh.RouteStatus[gwv1.GRPCRouteStatus](c.mesh, mesh.GRPCRoute), c.tables.GRPCRoutes)
	keepStatus(c, mesh.TLSRoute, mesh.RouteStatus[gwv1.TLSRouteStatus](c.mesh, mesh.TLSRoute), c.tables.TLSRoutes)
	keepStatus(c, mesh.TCPRoute, mesh.RouteStatus[gwv1.TCPRouteStatus](c.mesh, mesh.TCPRoute), c.tables.TCPRoutes)
	keepStatus(c, mesh.UDPRoute, mesh.RouteStatus[gwv1.UDPRouteStatus](c.mesh, mesh.UDPRoute), c.tables.UDPRoutes)
	keepStatus(c, "BackendTLSPolicy", c.mesh.BackendTLSPolicyStatus, c.tables.BackendTLSPolicies)
	keepStatus(c, "XBackendTrafficPolicy", c.mesh.TrafficPolicyStatus, c.tables.XBackendTrafficPolicies)
	keepStatus(c, "XMesh", c.mesh.XMeshStatus, c.tables.XMeshes)
	keepStatus(c, mesh.TrafficSplit, c.mesh.TrafficSplitStatus, c.tables.TrafficSplits)
	keepStatus(c, mesh.HTTPRouteGroup, c.mesh.HTTPRouteGroupStatus, c.tables.HTTPRouteGroups)
	incr.Keep(mesh.Memo(c.mesh, "certificates", c.mesh.Certificates), func(k string, wanted []mesh.Certificate, has bool) {
		if has {
			c.Certificates.Put(k, Certificates{k, wanted})
		} else {
			c.Certificates.Forget(k, Certificates{Gateway: k})
		}
	}, c.tables.Gateways)
	c.keepPorts()
	c.keepScopes()
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
