package circuitbreaker

import (
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// TestBound: what is written takes the place of the guard, of retries also that of the budget; what is not stays.
func TestBound(t *testing.T) {
	fresh := func() (*clusterv3.Cluster, *clusterv3.CircuitBreakers_Thresholds) {
		all := &clusterv3.CircuitBreakers_Thresholds{
			MaxConnections: wrapperspb.UInt32(9), MaxPendingRequests: wrapperspb.UInt32(9), MaxRequests: wrapperspb.UInt32(9),
			RetryBudget: &clusterv3.CircuitBreakers_Thresholds_RetryBudget{},
		}
		return &clusterv3.Cluster{CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{all}}}, all
	}
	c, is := fresh()
	bound(&v1alpha1.CircuitBreaker{MaxPendingRequests: new(int32(0)), MaxRequests: new(int32(3))}, c)
	if is.MaxConnections.Value != 9 || is.MaxPendingRequests.Value != 0 || is.MaxRequests.Value != 3 || is.MaxRetries != nil || is.RetryBudget == nil {
		t.Errorf("without a bound of retries: %v", is)
	}
	c, is = fresh()
	bound(&v1alpha1.CircuitBreaker{MaxConnections: new(int32(1)), MaxRetries: new(int32(0))}, c)
	if is.MaxConnections.Value != 1 || is.MaxRetries.GetValue() != 0 || is.MaxRetries == nil || is.RetryBudget != nil {
		t.Errorf("with a bound of retries: %v", is)
	}
}
