package envoy_test

import (
	"net/netip"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/envoy"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/internal/smi"
)

const (
	cartID  = "spiffe://cluster.local/ns/shop/sa/cart"
	stockID = "spiffe://cluster.local/ns/shop/sa/stock"
)

func receiving(mode mesh.MTLSMode) mesh.Inbound {
	return mesh.Inbound{
		TrustDomain: "cluster.local", Mode: mode, ConnectionAge: time.Hour, RootsRetired: 2, Others: []int32{8443, 9102},
		Ports: []mesh.InboundPort{
			{Port: 8080, Protocol: mesh.HTTP1, Mode: mode, Service: "shop/cart", Of: 80}, {Port: 9090, Protocol: mesh.HTTP2, Mode: mode},
			{Port: 5432, Protocol: mesh.TCP, Mode: mode}, {Port: 7000, Protocol: mesh.Undeclared, Mode: mode},
			{Port: 7001, Protocol: mesh.Undeclared, Mode: mesh.MTLSPermissive},
		},
		Probes: []sidecar.Probe{
			{Port: 8080, Kind: sidecar.HTTP, Path: "/healthz?full=1"}, {Port: 8443, Kind: sidecar.HTTPS, Path: "/"},
			{Port: 9090, Kind: sidecar.GRPC, Service: "cart"}, {Port: 5432, Kind: sidecar.TCP},
		},
	}
}

// open has a port end the TLS of clients too.
func open(in mesh.Inbound) mesh.Inbound {
	in.Ports[0].ServerTLS = &mesh.ServerTLS{Hostnames: []string{"*.shop.example", "shop.example"}, Secrets: []string{"secret/shop/tls"}}
	return in
}

func guardedOf(in mesh.Inbound) mesh.Inbound {
	in.Guarded = true
	return in
}

// lettingIn lets two in by some requests, one of them by bytes too, and another by whatever it sends.
func lettingIn(name string) mesh.Access {
	both := []string{"office/reports", "shop/web"}
	return mesh.Access{Name: name, Guarded: true, TrustDomain: "cluster.local", Allows: []smi.Allow{
		{Name: "traffictarget/shop/cart/0/read", Sources: both, Request: smi.Request{Methods: []string{"GET", "HEAD"}, Path: "/cart/[0-9]+", Headers: []smi.Header{{Name: "x-a", Value: "b|c"}, {Name: "x-b", Value: ".*"}}}},
		{Name: "traffictarget/shop/cart/0/all", Sources: both[1:], Ports: []int32{8080}, Request: smi.Request{Path: ".*"}},
		{Name: "traffictarget/shop/cart/1", Sources: both[1:], Ports: []int32{5432, 8080}, Traffic: smi.DeclaredBytes},
		{Name: "traffictarget/shop/ops/0", Sources: []string{"shop/ops"}, Traffic: smi.Bytes},
	}}
}

// What a sidecar is given, as it is spelt for Envoy.
func TestSidecar(t *testing.T) {
	serviceListener := func(protocol mesh.Protocol) proto.Message {
		return envoy.ServiceListener(mesh.ServiceListener{Name: "outbound/shop/cart/80", Service: "shop/cart", Addresses: []string{"10.96.0.7", "fd00::7"}, Port: 80,
			Protocol: protocol, Cluster: "service/shop/cart/80/tcp"})
	}
	cluster := func(name string, protocol mesh.Protocol, whole bool) proto.Message {
		return envoy.Cluster(mesh.Cluster{Name: name, Endpoints: "service/shop/cart/80", Protocol: protocol,
			Peers: mesh.Peers{Identities: []string{cartID, stockID}, All: whole}})
	}
	resources := map[string]proto.Message{
		"sidecar-outbound":           envoy.Outbound(mesh.Outbound{PodRanges: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24"), netip.MustParsePrefix("fd00:244::/64")}}),
		"sidecar-outbound-deny":      envoy.Outbound(mesh.Outbound{Egress: mesh.EgressDeny}),
		"sidecar-service-http":       serviceListener(mesh.HTTP1),
		"sidecar-service-undeclared": serviceListener(mesh.Undeclared),
		"sidecar-service-tcp":        serviceListener(mesh.TCP),
		"sidecar-service-split": envoy.ServiceListener(mesh.ServiceListener{Name: "outbound/shop/db/5432", Service: "shop/db", Addresses: []string{"10.96.0.8"}, Port: 5432,
			Protocol: mesh.TCP, Cluster: "service/shop/db/5432/tcp", Split: "outbound/shop/db/5432"}),
		"sidecar-split": envoy.Split(mesh.Split{Name: "outbound/shop/db/5432", Service: "shop/db", Port: 5432,
			Backends: []mesh.Backend{{Cluster: "service/shop/db/5432/tcp", Weight: 9}, {Cluster: "service/shop/db-next/5432/tcp", Weight: 1}}}),
		"sidecar-inbound":             envoy.Inbound(receiving(mesh.MTLSStrict)),
		"sidecar-inbound-permissive":  envoy.Inbound(receiving(mesh.MTLSPermissive)),
		"sidecar-inbound-public":      envoy.Inbound(open(receiving(mesh.MTLSStrict))),
		"sidecar-inbound-node":        envoy.NodeInbound(receiving(mesh.MTLSStrict)),
		"sidecar-inbound-node-permit": envoy.NodeInbound(receiving(mesh.MTLSPermissive)),
		"sidecar-inbound-node-guard":  envoy.NodeInbound(guardedOf(receiving(mesh.MTLSPermissive))),
		"access-requests":             envoy.Access(lettingIn(mesh.AccessRequests)),
		"access-bytes":                envoy.Access(lettingIn(mesh.AccessBytes)),
		"access-undeclared":           envoy.Access(lettingIn(mesh.AccessUndeclared)),
		"access-requests-all":         envoy.Access(mesh.Access{Name: mesh.AccessRequests}),
		"access-bytes-all":            envoy.Access(mesh.Access{Name: mesh.AccessBytes}),
		"access-requests-none":        envoy.Access(mesh.Access{Name: mesh.AccessRequests, Guarded: true}),
		"access-bytes-none":           envoy.Access(mesh.Access{Name: mesh.AccessBytes, Guarded: true}),
		"sidecar-outbound-shadow":     envoy.Outbound(mesh.Outbound{Egress: mesh.EgressAllow, Shadow: "shop/no-egress", Identity: cartID}),
		"sidecar-inbound-shadow":      envoy.Inbound(tried(receiving(mesh.MTLSPermissive))),
		"sidecar-inbound-node-shadow": envoy.NodeInbound(tried(receiving(mesh.MTLSPermissive))),
		"sidecar-routes": envoy.ServiceRoutes(mesh.VirtualHost{Routes: "outbound/shop/cart/80", Domain: "*", Port: 80,
			Rules: rules(t, `[{backendRefs: [{name: service/shop/cart/80}]}]`)}),
		"cluster-peers":       cluster("service/shop/cart/80", mesh.HTTP1, true),
		"cluster-peers-mixed": cluster("service/shop/cart/80", mesh.HTTP1, false),
		"cluster-peers-http2": cluster("service/shop/cart/80/h2", mesh.HTTP2, false),
		"cluster-peers-tcp":   cluster("service/shop/cart/80/tcp", mesh.TCP, false),
		"cluster-direct":      envoy.DirectCluster(mesh.Direct{Name: "pod|10.244.0.9:8080", Address: "10.244.0.9", Port: 8080, Identity: cartID}),
		"cluster-direct-none": envoy.DirectCluster(mesh.Direct{Name: "pod|10.244.0.9:8080", Nobody: true}),
		"cluster-app-http1":   envoy.FixedCluster(mesh.AppHTTP1),
		"cluster-app-https":   envoy.FixedCluster(mesh.AppHTTPS),
		"cluster-passthrough": envoy.FixedCluster(mesh.Passthrough),
		"endpoints-peers": envoy.Endpoints(mesh.Endpoints{Cluster: "service/shop/cart/80", Addresses: []mesh.Endpoint{
			{Address: "10.0.1.2", Port: 8080, Identity: cartID}, {Address: "10.0.1.3", Port: 8080},
		}}),
	}
	for name, m := range resources { // one by one, for some share a name
		t.Run(name, func(t *testing.T) {
			golden(t, name, m)
			if name != "cluster-direct" { // in a bootstrap, it would want secrets by a stream that does not exist yet
				envoytest.Validate(t, m)
			}
		})
	}
	pair := keyPair(t, "cart")
	envoytest.Validate(t, envoy.Roots(mesh.RootsSecret, pair.Chain))
}
