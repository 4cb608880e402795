package core

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/cluster"
)

const twoSets = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: weft}
spec: {controllerName: mesh.weft.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra}
spec: {gatewayClassName: weft, allowedListeners: {namespaces: {from: All}}, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: near, namespace: infra}
spec: {parentRef: {name: edge}, listeners: [{name: near, port: 80, protocol: HTTP, hostname: near.test}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: far, namespace: shop}
spec: {parentRef: {name: edge, namespace: infra}, listeners: [{name: far, port: 80, protocol: HTTP, hostname: far.test}]}
`

// TestRefusedPortOfListenerSets: what a proxy said of a port is told to those of the Gateway's namespace;
// the writers of other sets learn that it was refused.
func TestRefusedPortOfListenerSets(t *testing.T) {
	w := newWorld(t)
	w.apply([]byte(twoSets))
	tables := w.core.tables
	tables.Graph.Commit(func() {
		tables.Refusals.Set("gateway/infra/edge/80", cluster.Quarantine{Proxy: "infra/edge-1", Detail: "secret words"})
	})
	w.commit()
	for what, says := range map[string]string{
		"status Gateway infra/edge":     "http Programmed=False Invalid: proxy infra/edge-1 refused the listener and keeps the one before: secret words",
		"status ListenerSet infra/near": "near Programmed=False Invalid: proxy infra/edge-1 refused the listener and keeps the one before: secret words",
		"status ListenerSet shop/far":   "far Programmed=False Invalid: proxies refused the listener and keep the one before: ask who runs Gateway infra/edge",
	} {
		if !strings.Contains(w.seen[what], says) {
			t.Errorf("%s: %s\nwant %s", what, w.seen[what], says)
		}
	}
}
