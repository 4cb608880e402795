package mesh

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
)

// TestListenersLogWhatTheMeshSays: a change of the Mesh reaches the listeners of Gateways.
func TestListenersLogWhatTheMeshSays(t *testing.T) {
	tables := cluster.NewTables()
	m := New(tables)
	tables.Graph.Commit(func() {
		tables.GatewayClasses.Set("weft", &gwv1.GatewayClass{Spec: gwv1.GatewayClassSpec{ControllerName: ControllerName}})
		tables.Gateways.Set("shop/web", &gwv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
			Spec: gwv1.GatewaySpec{GatewayClassName: "weft", Listeners: []gwv1.Listener{{Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}}}})
	})
	for _, mode := range []v1alpha1.AccessLogMode{"", v1alpha1.AccessLogOff, v1alpha1.AccessLogSampled} {
		tables.Graph.Commit(func() {
			tables.Meshes.Set(v1alpha1.MeshName, &v1alpha1.Mesh{Spec: v1alpha1.MeshSpec{Telemetry: v1alpha1.Telemetry{AccessLogs: mode}}})
		})
		if l := m.Listener(nil, listenerName("shop/web", 80)); len(l.Chains) != 1 || l.Telemetry.AccessLogs != mode {
			t.Errorf("the Mesh says %q, the listener is %+v", mode, l)
		}
	}
}
