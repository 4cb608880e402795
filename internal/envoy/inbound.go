package envoy

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/mtls"
	"github.com/weft-mesh/weft/internal/sidecar"
	"github.com/weft-mesh/weft/internal/wire"
)

// alpn is what the receiving side negotiates.
var alpn = []string{"h2", "http/1.1"}

// Inbound receives what is sent to the pod: mTLS from the mesh and, where that is permitted,
// plaintext. What a port declares decides how it is read; a caller's offer decides it only on a
// port that declares nothing.
func Inbound(in mesh.Inbound) *listenerv3.Listener {
	r := receiver{Inbound: in}
	return r.listener(mesh.InboundListener, sidecar.InboundPort)
}

// NodeInbound receives what the pod's own node sends: the same, and the kubelet's probes, exactly
// as they are declared.
func NodeInbound(in mesh.Inbound) *listenerv3.Listener {
	r := receiver{Inbound: in, node: true}
	return r.listener(mesh.NodeInboundListener, sidecar.NodeInboundPort)
}

// receiver builds one of the two.
type receiver struct {
	mesh.Inbound
	node   bool
	chains []*listenerv3.FilterChain
}

func (r *receiver) listener(name string, port uint32) *listenerv3.Listener {
	l := captured(name, port, corev3.TrafficDirection_INBOUND)
	l.ListenerFilters = append(l.ListenerFilters, tlsInspector())
	for _, p := range r.Ports {
		r.declared(p)
	}
	r.undeclared()
	if r.sniffs() {
		sniff(l)
	}
	if r.node {
		r.probes()
	}
	l.FilterChains = r.chains
	return l
}

// declared are the chains of a port that a Service has; one that declares no protocol is read as any
// other port is.
func (r *receiver) declared(p mesh.InboundPort) {
	port, to := uint32(p.Port), serviceCalled(p.Service, uint32(p.Of))
	open := plaintext{r.takes(p.Port), p.Shadow}
	if p.ServerTLS != nil {
		r.public(p, to)
	}
	switch {
	case p.Protocol == mesh.Undeclared:
		r.anything(port, to, open, p.Checked)
	case p.Protocol.HTTP():
		cluster := appOf(p.Protocol)
		r.peers(port, []string{offerHTTP1, offerHTTP2, offerTCP}, cluster, to)
		if open.taken {
			r.plain(port, nil, r.requests(port, cluster, to, open))
		}
	default:
		r.bytes(port, to, open, mesh.AccessBytes)
	}
}

// plaintext says whether a port takes it and, where it does, which policy in Shadow would not.
type plaintext struct {
	taken  bool
	shadow string
}

// takes says whether a port takes plaintext. Where only some callers are let in, who shows no certificate is
// none of them, and is told so; but on what comes from the node, ports that the kubelet asks take its probes. So do
// those of which each request is checked: a probe has no token.
func (r *receiver) takes(port int32) bool {
	mode, asksMore := r.modeOf(port)
	asked := slices.ContainsFunc(r.Probes, func(p sidecar.Probe) bool { return p.Port == port && p.Kind != sidecar.TCP })
	return mode == mesh.MTLSPermissive && !(r.node && (r.Guarded || asksMore) && asked)
}

func appOf(p mesh.Protocol) string {
	if p == mesh.HTTP2 {
		return mesh.AppHTTP2
	}
	return mesh.AppHTTP1
}

// undeclared are the chains of every port that no Service declares.
func (r *receiver) undeclared() {
	r.anything(0, called{}, plaintext{r.Mode == mesh.MTLSPermissive, r.Shadow}, r.Checked)
}

// anything reads a port (0: any) as its callers say. Where each request is checked, what they say is none is not
// let in: the app might take it for one all the same.
func (r *receiver) anything(port uint32, to called, open plaintext, checked bool) {
	r.peers(port, []string{offerHTTP1}, mesh.AppHTTP1, to)
	r.peers(port, []string{offerHTTP2}, mesh.AppHTTP2, to)
	if open.taken {
		r.plain(port, foundHTTP1, r.requests(port, mesh.AppHTTP1, to, open))
		r.plain(port, foundHTTP2, r.requests(port, mesh.AppHTTP2, to, open))
	}
	if !checked {
		r.bytes(port, to, open, mesh.AccessUndeclared)
	}
}

// bytes passes on what is not HTTP, and TLS that is not the mesh's to the app, as the filter of that name lets it.
func (r *receiver) bytes(port uint32, to called, open plaintext, access string) {
	peer, guards := fromPeer(mesh.AppTCP, to, r.Telemetry), r.guardTrial(port)
	peer.AccessLog = append(peer.AccessLog, guards.connectionOutcomes(to)...)
	r.mutual(port, []string{offerTCP}, onlyNameOfBytes(r.TrustDomain), guardedBytes(access), filterNamed(tcpProxyFilter, peer)).Metadata = since(r.RootsRetired)
	if !open.taken {
		return
	}
	proxy := bytesTo(mesh.AppTCP, destination, to, r.Telemetry)
	if open.shadow != "" {
		r.tries(open.shadow, port).ofConnections(proxy, to, r.Telemetry)
	} else {
		guards.asked = r.asked(port)
		proxy.AccessLog = append(append(connectionLogs(destination, r.Telemetry, bytesInTrial(denied, guards.asked)), tcpSignals(destination, to)...), guards.connectionOutcomes(to)...)
	}
	app := []*listenerv3.Filter{guardedBytes(access), filterNamed(tcpProxyFilter, proxy)}
	r.plain(port, nil, app...)
	r.add("tls", port, &listenerv3.FilterChainMatch{TransportProtocol: "tls"}, app...)
}

// peers serves HTTP to callers by mTLS. Their proxies say how long nothing may be sent; those that are gone
// without a word answer no pings.
func (r *receiver) peers(port uint32, offers []string, cluster string, to called) {
	m := r.toApp(port, cluster, to)
	m.StreamIdleTimeout = durationpb.New(0)
	m.Http2ProtocolOptions.ConnectionKeepalive = &corev3.KeepaliveSettings{
		Interval: durationpb.New(peerPing), Timeout: durationpb.New(peerPing),
	}
	r.mutual(port, offers, onlyName(r.TrustDomain), networkFilter(m))
}

const peerPing = time.Minute

// requests serves HTTP to callers without mTLS.
func (r *receiver) requests(port uint32, cluster string, to called, open plaintext) *listenerv3.Filter {
	m := r.toApp(port, cluster, to)
	if open.shadow != "" {
		r.tries(open.shadow, port).ofRequests(m, to, r.Telemetry)
		m.AccessLog = append(m.AccessLog, decisionLogs(r.Decisions, r.asked(port))...)
	} else {
		m.AccessLog = r.logs(port, to, r.asked(port))
	}
	return networkFilter(m)
}

// logs are those of requests to a port, of which the kubelet's probes would not be refused.
func (r *receiver) logs(port uint32, to called, asked []sidecar.Probe) []*accesslogv3.AccessLog {
	guards := r.guardTrial(port)
	guards.asked = asked
	out := append(append(requestLogs(destination, r.Telemetry, true, inTrial(denied, asked)), httpSignals(destination, to)), guards.requestOutcomes(to)...)
	return append(out, decisionLogs(r.Decisions, asked)...)
}

func (r *receiver) guardTrial(port uint32) trial {
	t := guardTrial(destination, cmp.Or(r.Identity, "%DOWNSTREAM_LOCAL_URI_SAN%"))
	t.port = podPort(port, r.Others)
	return t
}

// tries is what a policy in Shadow would refuse at a port, or at those that no Service declares (0). The
// kubelet's probes are no more refused than without it.
func (r *receiver) tries(policy string, port uint32) trial {
	return trial{reporter: destination, section: mtls.Section.Name, policy: policy, pods: r.Identity, port: podPort(port, r.Others), asked: r.asked(port)}
}

// asked are the probes that come to a port, or to those that no Service declares (0), in plaintext.
func (r *receiver) asked(port uint32) (out []sidecar.Probe) {
	for _, p := range r.Probes {
		if r.node && p.Kind != sidecar.TCP && (uint32(p.Port) == port || port == 0 && !r.declares(p.Port)) {
			out = append(out, p)
		}
	}
	return out
}

func (r *receiver) declares(port int32) bool {
	return slices.ContainsFunc(r.Ports, func(p mesh.InboundPort) bool { return p.Port == port })
}

// add appends a chain for a port, 0 for any.
func (r *receiver) add(kind string, port uint32, match *listenerv3.FilterChainMatch, filters ...*listenerv3.Filter) *listenerv3.FilterChain {
	name := "any " + kind
	if port != 0 {
		name = fmt.Sprintf("%d %s", port, kind)
		match.DestinationPort = wrapperspb.UInt32(port)
	}
	chain := &listenerv3.FilterChain{Name: name, FilterChainMatch: match, Filters: filters}
	r.chains = append(r.chains, chain)
	return chain
}

func (r *receiver) mutual(port uint32, offers []string, to ...*listenerv3.Filter) *listenerv3.FilterChain {
	match := &listenerv3.FilterChainMatch{TransportProtocol: "tls", ApplicationProtocols: offers}
	chain := r.add("mtls "+offers[0], port, match, to...)
	chain.TransportSocket = callersTLS(r.TrustDomain, alpn)
	chain.TransportSocketConnectTimeout = durationpb.New(handshakeTimeout)
	return chain
}

// since has a chain differ once roots were retired. Envoy then puts another in its place, and closes what
// the one before had accepted when its drain time is over; the other chains keep their connections.
func since(rootsRetired uint64) *corev3.Metadata {
	if rootsRetired == 0 {
		return nil
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		"weft": {Fields: map[string]*structpb.Value{"roots_retired": structpb.NewNumberValue(float64(rootsRetired))}},
	}}
}

func (r *receiver) plain(port uint32, found []string, to ...*listenerv3.Filter) {
	kind := "plaintext"
	if len(found) > 0 {
		kind += " " + found[0]
	}
	r.add(kind, port, &listenerv3.FilterChainMatch{TransportProtocol: "raw_buffer", ApplicationProtocols: found}, to...)
}

// public ends the TLS of clients outside the mesh, who show no certificate and name a host. A peer names
// none, so that its chains are the others.
func (r *receiver) public(p mesh.InboundPort, to called) {
	match := &listenerv3.FilterChainMatch{TransportProtocol: "tls", ServerNames: p.ServerTLS.Hostnames}
	chain := r.add("public", uint32(p.Port), match, networkFilter(r.fromClients(uint32(p.Port), appOf(p.Protocol), to)))
	chain.TransportSocket = tlsSocket(downstreamTLS(p.ServerTLS.Secrets))
	chain.TransportSocketConnectTimeout = durationpb.New(handshakeTimeout)
}

// fromClients serves HTTP to clients that are not trusted, as a Gateway does.
func (r *receiver) fromClients(port uint32, cluster string, to called) *hcmv3.HttpConnectionManager {
	m := hardened("public")
	m.UpgradeConfigs = []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}}
	return r.given(m, port, cluster, to)
}

// toApp serves HTTP to peers.
func (r *receiver) toApp(port uint32, cluster string, to called) *hcmv3.HttpConnectionManager {
	return r.given(between("inbound"), port, cluster, to)
}

// given has HTTP go to the app. Who calls is told to it by X-Forwarded-Client-Cert, and by nobody else.
func (r *receiver) given(m *hcmv3.HttpConnectionManager, port uint32, cluster string, to called) *hcmv3.HttpConnectionManager {
	m.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE_SET
	m.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{Uri: true}
	m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
		Name:                    cluster,
		ValidateClusters:        wrapperspb.Bool(false), // they come with the same stream
		ResponseHeadersToRemove: []string{unsentHeader},
		VirtualHosts: []*routev3.VirtualHost{{Name: "app", Domains: []string{"*"}, Routes: []*routev3.Route{{
			Name:   "app",
			Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: toAppAction(cluster),
		}}}},
	}}
	m.HttpFilters = []*hcmv3.HttpFilter{guardedRequests(), guarded(), asked(), router()}
	m.LocalReplyConfig = ownReplies(unsentReplies()...)
	m.AccessLog = r.logs(port, to, nil)
	m.CommonHttpProtocolOptions.MaxConnectionDuration = durationpb.New(r.ConnectionAge)
	return m
}

// toAppAction has no timeout: the caller's is the one that counts.
func toAppAction(cluster string) *routev3.Route_Route {
	return &routev3.Route_Route{Route: &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
		Timeout:          durationpb.New(0),
	}}
}

// probes are chains for the ports that the kubelet asks, unless they take plaintext anyway. A TCP probe
// does not come here: it reaches the app itself.
func (r *receiver) probes() {
	plain, secure := map[uint32][]*routev3.Route{}, map[uint32][]*routev3.Route{}
	var ports []uint32
	for _, p := range r.Probes {
		port := uint32(p.Port)
		if p.Kind == sidecar.TCP || r.takes(p.Port) {
			continue
		}
		if len(plain[port])+len(secure[port]) == 0 {
			ports = append(ports, port)
		}
		switch p.Kind {
		case sidecar.HTTP:
			plain[port] = append(plain[port], probeRoute(p, mesh.AppHTTP1))
		case sidecar.GRPC:
			plain[port] = append(plain[port], probeRoute(p, mesh.AppHTTP2))
		case sidecar.HTTPS:
			secure[port] = append(secure[port], probeRoute(p, mesh.AppHTTPS))
		}
	}
	for _, port := range ports {
		if len(plain[port]) > 0 {
			r.add("probe", port, &listenerv3.FilterChainMatch{TransportProtocol: "raw_buffer"}, networkFilter(probed(plain[port])))
		}
		if len(secure[port]) > 0 {
			chain := r.add("tls probe", port, &listenerv3.FilterChainMatch{TransportProtocol: "tls"}, networkFilter(probed(secure[port])))
			chain.TransportSocket = tlsSocket(probedTLS())
			chain.TransportSocketConnectTimeout = durationpb.New(handshakeTimeout)
		}
	}
}

// sniffs says whether some port reads plaintext as its callers say.
func (r *receiver) sniffs() bool {
	return r.Mode == mesh.MTLSPermissive || slices.ContainsFunc(r.Ports, func(p mesh.InboundPort) bool {
		return p.Protocol == mesh.Undeclared && p.Mode == mesh.MTLSPermissive
	})
}

// modeOf says what a port accepts, and whether each request to it is checked, which a probe might not pass.
func (r *receiver) modeOf(port int32) (mode mesh.MTLSMode, checked bool) {
	for _, p := range r.Ports {
		if p.Port == port {
			return p.Mode, p.Checked || p.Ruled
		}
	}
	return r.Mode, r.Checked || r.Ruled
}

// question is the request that a probe by HTTP, HTTPS or gRPC makes.
func question(p sidecar.Probe) (method, path string) {
	if p.Kind == sidecar.GRPC {
		return http.MethodPost, "/grpc.health.v1.Health/Check"
	}
	return http.MethodGet, p.Path
}

// probeRoute takes one request, to the letter, and no other.
func probeRoute(p sidecar.Probe, cluster string) *routev3.Route {
	method, path := question(p)
	return &routev3.Route{
		Name: "probe",
		Match: &routev3.RouteMatch{
			PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"},
			Headers:       []*routev3.HeaderMatcher{wire.Header(":method", wire.Exactly(method)), wire.Header(":path", wire.Exactly(path))},
		},
		Action: toAppAction(cluster),
	}
}

// probed serves the kubelet. Paths are compared as they came.
func probed(routes []*routev3.Route) *hcmv3.HttpConnectionManager {
	m := between("probe")
	m.NormalizePath, m.MergeSlashes = wrapperspb.Bool(false), false
	m.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_KEEP_UNCHANGED
	m.UpgradeConfigs = nil
	refuse := &routev3.Route{
		Name:   "refused",
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: answer(http.StatusForbidden),
	}
	m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
		Name:             "probe",
		ValidateClusters: wrapperspb.Bool(false),
		VirtualHosts:     []*routev3.VirtualHost{{Name: "probe", Domains: []string{"*"}, Routes: append(routes, refuse)}},
	}}
	m.HttpFilters = []*hcmv3.HttpFilter{router()}
	return m
}
