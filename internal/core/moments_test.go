package core

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/cluster"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/xds"
)

const calledCart = `
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ports: [{name: http, port: 80}]}
`

// running is a Core that runs with a fault that ends at a moment, by a clock; published tells of each time that
// the routes to the Service are published, whether they make faults.
func running(t *testing.T, now func() time.Time, until time.Time) (published <-chan bool) {
	t.Helper()
	c := New(xds.NewStore(nil), xds.NewFacts())
	c.moments.now, c.moments.glance = now, 50*time.Millisecond
	put(t, c, []byte(calledCart))
	p := &v1alpha1.MeshPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "late", Generation: 1}}
	status := int32(503)
	p.Spec = v1alpha1.MeshPolicySpec{Mode: v1alpha1.PolicyEnforce, Fault: &v1alpha1.Fault{Until: metav1.NewTime(until), Abort: &v1alpha1.FaultAbort{HTTPStatus: &status}}}
	cluster.Put(c.Inbox(), c.Tables().MeshPolicies, "shop/late", p)
	out := make(chan bool, 10)
	routes := xds.Resource{Name: xds.Name{Type: typeURL(mesh.KindRoutes), Name: "outbound/shop/cart/80"}}
	c.publish = func(change xds.Change) {
		if r := change.Resources[routes]; r != nil {
			out <- strings.Contains(r.Resource.String(), "weft.fault")
		}
	}
	c.Commit()
	go func() { _ = c.Run(t.Context()) }() // it ends with the test
	return out
}

func wants(t *testing.T, published <-chan bool, faults bool) {
	t.Helper()
	select {
	case has := <-published:
		if has != faults {
			t.Fatalf("routes that make faults: %v, want %v", has, faults)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("not in 20 s: routes that make faults: %v", faults)
	}
}

// TestAFaultEnds: by the clock, without any other event, and not before.
func TestAFaultEnds(t *testing.T) {
	until := time.Now().Add(2 * time.Second)
	published := running(t, time.Now, until)
	wants(t, published, true)
	wants(t, published, false)
	if early := time.Until(until); early > 0 {
		t.Errorf("it ended %v too early", early)
	}
}

// TestAClockJumps: forward, of which no timer hears. A step back begins nothing again.
func TestAClockJumps(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	published := running(t, now, time.Now().Add(time.Hour))
	wants(t, published, true)
	ahead.Store(int64(2 * time.Hour))
	wants(t, published, false)
	ahead.Store(0)
	select {
	case has := <-published:
		t.Errorf("the clock was set back, and the routes became others: %v", has)
	case <-time.After(300 * time.Millisecond):
	}
}

// TestAFaultThatIsOver reaches no proxy when the operator starts after its end.
func TestAFaultThatIsOver(t *testing.T) {
	wants(t, running(t, time.Now, time.Now().Add(-time.Second)), false)
}
