package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ControllerName is the one that GatewayClasses name to be served by Weft.
const ControllerName gwv1.GatewayController = "mesh.weft.dev/gateway-controller"

// maxName is what a Service's name may hold.
const maxName = 63

// ProxyName is the name of everything that is made for a Gateway: <gateway>-<class>, as GEP-1762
// recommends, cut and closed by a hash where that is longer than a Service's name may be.
func ProxyName(gw *gwv1.Gateway) string {
	name := gw.Name + "-" + string(gw.Spec.GatewayClassName)
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return strings.TrimRight(name[:maxName-9], "-.") + "-" + hex.EncodeToString(sum[:4])
}

// ProxyScope is the scope of a Gateway's proxies: their ServiceAccount, which their token names.
func ProxyScope(gw *gwv1.Gateway) string { return gw.Namespace + "/" + ProxyName(gw) }

func listenerName(gateway string, port int32) string {
	return fmt.Sprintf("gateway/%s/%d", gateway, port)
}

func clusterName(namespace, service string, port int32) string {
	return fmt.Sprintf("service/%s/%s/%d", namespace, service, port)
}

func secretName(key string) string { return "secret/" + key }

// parseCluster takes a clusterName apart.
func parseCluster(name string) (service string, port int32) {
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

func namespaceOf(key string) string {
	ns, _, _ := strings.Cut(key, "/")
	return ns
}
