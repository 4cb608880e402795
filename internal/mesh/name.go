package mesh

import (
	"fmt"
	"strconv"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	proxies "github.com/weft-mesh/weft/internal/gateway"
)

// ControllerName is the one that GatewayClasses name to be served by Weft.
const ControllerName gwv1.GatewayController = "mesh.weft.dev/gateway-controller"

// ProxyScope is the scope of a Gateway's proxies: their ServiceAccount, which their token names.
func ProxyScope(gw *gwv1.Gateway) string { return gw.Namespace + "/" + proxies.Name(gw) }

func listenerName(gateway string, port int32) string {
	return fmt.Sprintf("gateway/%s/%d", gateway, port)
}

func clusterName(namespace, service string, port int32) string {
	return fmt.Sprintf("service/%s/%s/%d", namespace, service, port)
}

func secretName(key string) string { return "secret/" + key }

// ownRetries ends the name of a cluster whose requests are retried as their rule says, if at all.
const ownRetries = "/own-retries"

// overHTTP2 ends the name of a cluster that speaks HTTP/2 whatever its port declares.
const overHTTP2 = "/h2"

// parseCluster takes a clusterName apart.
func parseCluster(name string) (service string, port int32) {
	name = strings.TrimSuffix(strings.TrimSuffix(name, ownRetries), overHTTP2)
	i := strings.LastIndexByte(name, '/')
	p, _ := strconv.ParseInt(name[i+1:], 10, 32)
	return strings.TrimPrefix(name[:i], "service/"), int32(p)
}

// parseListener takes a listenerName, or the name of one of its RouteConfigurations, apart.
func parseListener(name string) (gateway string, port int32) {
	parts := strings.SplitN(name, "/", 5)
	p, _ := strconv.ParseInt(parts[3], 10, 32)
	return parts[1] + "/" + parts[2], int32(p)
}

// parseVirtualHost takes the name of a VirtualHost apart.
func parseVirtualHost(name string) (routes, domain string) {
	i := strings.LastIndexByte(name, '/')
	return name[:i], name[i+1:]
}

// key is "namespace/name".
func key(namespace, name string) string { return namespace + "/" + name }
