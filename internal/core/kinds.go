package core

import (
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/oidc"
	"github.com/weft-mesh/weft/internal/policy/ratelimit"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// builder renders one variant of a resource, nil if there is none, and tells the keys of the MeshPolicies
// about traffic that shaped it.
type builder func(m *mesh.Mesh, q *incr.Query, name, variant string) (message proto.Message, policies []string)

// unshaped is a builder of what no policy about traffic shapes.
func unshaped(build func(m *mesh.Mesh, q *incr.Query, name, variant string) proto.Message) builder {
	return func(m *mesh.Mesh, q *incr.Query, name, variant string) (proto.Message, []string) {
		return build(m, q, name, variant), nil
	}
}

// kinds gives each kind of resource its type and its builder.
var kinds = map[mesh.Kind]struct {
	message proto.Message
	build   builder
}{
	mesh.KindCluster: {&clusterv3.Cluster{}, buildCluster},
	mesh.KindEndpoints: {&endpointv3.ClusterLoadAssignment{}, func(m *mesh.Mesh, q *incr.Query, name, from string) (proto.Message, []string) {
		if name == mesh.Checks {
			return envoy.Endpoints(m.ChecksAt(q)), nil
		}
		of := m.Endpoints(q, name, room.Locality(from))
		return envoy.Endpoints(of), of.Policies
	}},
	mesh.KindSecret:    {&tlsv3.Secret{}, unshaped(buildSecret)},
	mesh.KindListener:  {&listenerv3.Listener{}, unshaped(buildListener)},
	mesh.KindExtension: {&corev3.TypedExtensionConfig{}, buildExtension},
	mesh.KindRoutes:    {&routev3.RouteConfiguration{}, buildRoutes},
	mesh.KindVirtualHost: {&routev3.VirtualHost{}, func(m *mesh.Mesh, q *incr.Query, name, variant string) (proto.Message, []string) {
		host := m.VirtualHost(q, name, variant)
		return envoy.VirtualHost(host), mesh.PoliciesOf(host.Rules)
	}},
}

func buildCluster(m *mesh.Mesh, q *incr.Query, name, variant string) (proto.Message, []string) {
	var of mesh.Cluster
	switch {
	case strings.HasPrefix(name, mesh.DirectPrefix):
		return envoy.DirectCluster(m.Direct(q, name)), nil
	case strings.HasPrefix(name, mesh.AskingPrefix):
		return envoy.AskingCluster(name), nil
	case name == ratelimit.Cluster:
		return envoy.QuotaCluster(m.QuotaOwner(q), filesOf(variant)), nil
	case name == mesh.Authz:
		return envoy.AuthzCluster(m.AuthzAt(q), filesOf(variant)), nil
	case name == mesh.Checks:
		return envoy.ChecksCluster(filesOf(variant)), nil
	case oidc.IsLogin(name):
		return buildLoginCluster(m, q, name)
	case mesh.IsSession(name):
		of = m.SessionCluster(q, name)
	case strings.HasPrefix(name, "service/"):
		of = m.Cluster(q, name, variant)
	case strings.HasPrefix(name, mesh.GatewayPrefix):
		return envoy.DatagramCluster(name), nil
	default:
		return envoy.FixedCluster(name), nil
	}
	return envoy.Cluster(of), of.PolicyKeys()
}

func buildLoginCluster(m *mesh.Mesh, q *incr.Query, name string) (proto.Message, []string) {
	c, ok := m.LoginCluster(q, name)
	if !ok {
		return nil, nil
	}
	return envoy.LoginCluster(c), []string{c.Policy}
}

// filesOf are where a kind of proxy has what it meets Weft's servers with.
func filesOf(variant string) envoy.Files {
	if variant == mesh.OfGateway {
		return envoy.GatewayFiles
	}
	return envoy.SidecarFiles
}

func buildExtension(m *mesh.Mesh, q *incr.Query, name, variant string) (proto.Message, []string) {
	if routes, is := mesh.IsQuota(name); is {
		quota := m.Quota(q, routes)
		return envoy.Quota(quota), quota.Policies
	}
	switch {
	case mesh.IsShared(name):
		shared := m.Shared(q, name)
		return envoy.Shared(shared), shared.Policies
	case mesh.IsApart(name):
		return buildApart(m, q, name)
	case mesh.IsAccess(name):
		access := m.Access(q, name, variant)
		return envoy.Access(access), access.Policies
	case name == mesh.Guards:
		guards := m.InboundGuards(q, variant)
		return envoy.InboundGuards(guards), guards.Policies()
	case strings.HasPrefix(name, mesh.OutboundListener+"/"):
		return envoy.Split(m.ServiceSplit(q, name, variant)), nil
	}
	return envoy.Split(m.Split(q, name)), nil
}

func buildApart(m *mesh.Mesh, q *incr.Query, name string) (proto.Message, []string) {
	a, ok := m.Apart(q, name)
	if !ok {
		return nil, nil
	}
	message := envoy.Apart(a)
	if message == nil {
		return nil, nil
	}
	return message, []string{a.Decided.Policy}
}

func buildSecret(m *mesh.Mesh, q *incr.Query, name, variant string) proto.Message {
	if oidc.IsLogin(name) {
		if text, ok := m.LoginSecret(q, name); ok {
			return envoy.GenericSecret(name, text)
		}
		return nil
	}
	var s mesh.Secret
	var ok bool
	switch name {
	case mesh.RootsSecret:
		if roots := m.Roots(q); len(roots) > 0 {
			return envoy.Roots(name, roots)
		}
	case mesh.IdentitySecret:
		s, ok = m.OwnSecret(q, variant)
	default:
		s, ok = m.SecretByName(q, name)
	}
	if !ok {
		return nil
	}
	return envoy.Secret(s)
}

func buildListener(m *mesh.Mesh, q *incr.Query, name, variant string) proto.Message {
	switch name {
	case mesh.OutboundListener:
		return envoy.Outbound(m.Outbound(q, variant))
	case mesh.InboundListener:
		return envoy.Inbound(m.Inbound(q, variant))
	case mesh.NodeInboundListener:
		return envoy.NodeInbound(m.Inbound(q, variant))
	}
	if strings.HasPrefix(name, mesh.OutboundListener+"/") {
		return envoy.ServiceListener(m.ServiceListener(q, name, variant))
	}
	return envoy.Listener(m.Listener(q, name))
}

func buildRoutes(m *mesh.Mesh, q *incr.Query, name, variant string) (proto.Message, []string) {
	if strings.HasPrefix(name, mesh.OutboundListener+"/") {
		host := m.ServiceHost(q, name, variant)
		return envoy.ServiceRoutes(host), mesh.PoliciesOf(host.Rules)
	}
	return envoy.RouteConfiguration(name), nil
}
