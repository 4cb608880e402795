package mesh

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	proxies "github.com/weft-mesh/weft/internal/gateway"
	"github.com/weft-mesh/weft/internal/policy/extauth"
)

// ControllerName is the one that GatewayClasses name to be served by Weft.
const ControllerName gwv1.GatewayController = "mesh.weft.dev/gateway-controller"

// ProxyScope is the scope of a Gateway's proxies: their ServiceAccount, which their token names.
func ProxyScope(gw *gwv1.Gateway) string { return gw.Namespace + "/" + proxies.Name(gw) }

// GatewayPrefix begins the names of what the proxies of one Gateway alone have.
const GatewayPrefix = "gateway/"

func listenerName(gateway string, port int32) string {
	return fmt.Sprintf("%s%s/%d", GatewayPrefix, gateway, port)
}

const servicePrefix = "service/"

func clusterName(namespace, service string, port int32) string {
	return fmt.Sprintf(servicePrefix+"%s/%s/%d", namespace, service, port)
}

// isService says whether a cluster, or its endpoints, is that of a Service's port.
func isService(name string) bool { return strings.HasPrefix(name, servicePrefix) }

func secretName(key string) string { return "secret/" + key }

// What ends the names of the clusters of one Service port: whose requests are retried as their rule
// says, if at all; whose requests are copies of others; that are spoken to by HTTP/2 whatever the port
// declares; by TCP; by the TLS of clients; by UDP, of which a Gateway has no cluster for each Service; after
// any but UDP, by the TLS of a BackendTLSPolicy.
const (
	ownRetries = "/own-retries"
	mirrorEnd  = "/mirror"
	overHTTP2  = "/h2"
	overTCPEnd = "/tcp"
	overTLSEnd = "/tls" // of clients, unwrapped: the endpoint's own sidecar ends it
	overUDPEnd = "/udp"
	backendTLS = "/backend-tls"
)

// OverHTTP2 is the name of the cluster that speaks HTTP/2 to the endpoints of another one.
func OverHTTP2(cluster string) string {
	if at := parseCluster(cluster); at.protocol == "" {
		at.protocol = HTTP2
		return at.name()
	}
	return cluster
}

// AskingPrefix begins the names of the clusters by which servers are asked about requests, which other clusters lead to.
const AskingPrefix = "asking/"

// Asking is the name of the cluster that questions to another one go through. Envoy ends the questions that
// are under way with the cluster that they were asked by, even where it is only replaced. So that is one
// that says nothing but the other's name, by which it is reached: it never changes.
func Asking(cluster string) string { return AskingPrefix + cluster }

// Linger is how long a proxy keeps a cluster that nothing refers to any more: by one that questions go
// through, a request may still be asked about.
func Linger(cluster string) time.Duration {
	if strings.HasPrefix(cluster, AskingPrefix) {
		return extauth.Longest + askingGrace
	}
	return 0
}

// askingGrace is for what comes before a question: its request may have met the old rule as late as that
// was replaced.
const askingGrace = 5 * time.Second

// clusterAt is a cluster's name taken apart.
type clusterAt struct {
	service    string
	port       int32
	protocol   Protocol // HTTP2, TCP, TLS or UDP; empty: what the port declares
	backendTLS bool     // by a Gateway, as a BackendTLSPolicy says
	ownRetries bool
	mirror     bool
}

func parseCluster(name string) (at clusterAt) {
	name, at.ownRetries = strings.CutSuffix(name, ownRetries)
	name, at.mirror = strings.CutSuffix(name, mirrorEnd)
	name, at.backendTLS = strings.CutSuffix(name, backendTLS)
	for end, protocol := range map[string]Protocol{overHTTP2: HTTP2, overTCPEnd: TCP, overTLSEnd: TLS, overUDPEnd: UDP} {
		if rest, is := strings.CutSuffix(name, end); is {
			name, at.protocol = rest, protocol
		}
	}
	i := strings.LastIndexByte(name, '/')
	p, _ := strconv.ParseInt(name[i+1:], 10, 32)
	at.service, at.port = strings.TrimPrefix(name[:i], servicePrefix), int32(p)
	return at
}

// endpoints is the name of the endpoints that all clusters of one Service port share.
func (at clusterAt) endpoints() string {
	namespace, service, _ := strings.Cut(at.service, "/")
	return clusterName(namespace, service, at.port)
}

func (at clusterAt) name() string {
	name := at.endpoints()
	switch at.protocol {
	case HTTP2:
		name += overHTTP2
	case TCP:
		name += overTCPEnd
	case TLS:
		name += overTLSEnd
	case UDP:
		name += overUDPEnd
	}
	if at.backendTLS {
		name += backendTLS
	}
	if at.mirror {
		name += mirrorEnd
	}
	if at.ownRetries {
		name += ownRetries
	}
	return name
}

// parseListener takes a listenerName, or the name of one of its RouteConfigurations, apart.
func parseListener(name string) (gateway string, port int32) {
	parts := strings.SplitN(name, "/", 5)
	p, _ := strconv.ParseInt(parts[3], 10, 32)
	return parts[1] + "/" + parts[2], int32(p)
}

// listenerID is the ID of the listener whose RouteConfiguration has a name; "" of one that several share.
func listenerID(routes string) string {
	if parts := strings.SplitN(routes, "/", 5); len(parts) == 5 {
		return parts[4]
	}
	return ""
}

// parseVirtualHost takes the name of a VirtualHost apart.
func parseVirtualHost(name string) (routes, domain string) {
	i := strings.LastIndexByte(name, '/')
	return name[:i], name[i+1:]
}

// key is "namespace/name".
func key(namespace, name string) string { return namespace + "/" + name }
