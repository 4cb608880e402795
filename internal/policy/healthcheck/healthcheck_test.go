package healthcheck

import (
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// TestFits: each check where something answers it, and nowhere else.
func TestFits(t *testing.T) {
	for protocol, want := range map[string][3]bool{
		"http1": {true, false, false}, "http2": {true, false, true}, "tcp": {false, true, false}, "tls": {}, "udp": {},
	} {
		for i, says := range []v1alpha1.HealthCheck{
			{HTTP: &v1alpha1.HTTPHealthCheck{Path: "/"}}, {TCP: &v1alpha1.TCPHealthCheck{Receive: "a"}}, {GRPC: &v1alpha1.GRPCHealthCheck{}},
		} {
			if got := fits(&says, protocol); got != want[i] {
				t.Errorf("%+v over %s: %v", says, protocol, got)
			}
		}
	}
}

// TestHost: a pod is asked for by its Service's name, which is a name, unlike a Cluster's.
func TestHost(t *testing.T) {
	for cluster, want := range map[string]string{
		"service/shop/cart/80": "cart.shop", "service/shop/cart/80/h2/backend-tls/own-retries": "cart.shop",
		"session/HTTPRoute/shop/web/0": "web.shop", "cart": "health-check",
	} {
		if got := host(cluster); got != want {
			t.Errorf("%s: %s", cluster, got)
		}
	}
}

// TestWithdrawn: a pod that is withdrawn goes though it is well; and every proxy is taken for one that sends nothing.
func TestWithdrawn(t *testing.T) {
	c := &clusterv3.Cluster{}
	check(&v1alpha1.HealthCheck{HTTP: &v1alpha1.HTTPHealthCheck{Path: "/"}, Interval: new(gwv1.Duration("5m"))}, c)
	if h := c.HealthChecks[0]; !c.IgnoreHealthOnHostRemoval || h.NoTrafficInterval.AsDuration() != 5*time.Minute || h.Interval.AsDuration() != 5*time.Minute {
		t.Errorf("%v", c)
	}
}
