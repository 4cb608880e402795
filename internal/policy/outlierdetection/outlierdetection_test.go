package outlierdetection

import (
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// TestPanic: as many pods may be left out as is written, unless something else says what becomes of a Service most of
// whose pods are unwell; one percent stays, below which all are sent to.
func TestPanic(t *testing.T) {
	for percent, want := range map[int32]float64{1: 0, 50: 0, 51: 49, 80: 20, 100: 1} {
		c := &clusterv3.Cluster{}
		eject(&v1alpha1.OutlierDetection{MaxEjectionPercent: &percent}, c)
		if got := c.GetCommonLbConfig().GetHealthyPanicThreshold().GetValue(); got != want {
			t.Errorf("of %d %%: %v, want %v", percent, got, want)
		}
	}
	c := &clusterv3.Cluster{CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{HealthyPanicThreshold: &typev3.Percent{Value: 0}}}
	eject(&v1alpha1.OutlierDetection{MaxEjectionPercent: new(int32(90))}, c)
	if got := c.CommonLbConfig.HealthyPanicThreshold.Value; got != 0 {
		t.Errorf("what another section said is now %v", got)
	}
}

// TestTimes: Envoy refuses a longest time that is shorter than the first.
func TestTimes(t *testing.T) {
	for _, says := range []v1alpha1.OutlierDetection{
		{BaseEjectionTime: new(gwv1.Duration("10m"))},
		{BaseEjectionTime: new(gwv1.Duration("10m")), MaxEjectionTime: new(gwv1.Duration("no time"))},
	} {
		c := &clusterv3.Cluster{}
		eject(&says, c)
		if got := c.OutlierDetection.MaxEjectionTime.AsDuration(); got != 10*time.Minute {
			t.Errorf("%+v: the longest is %v", says, got)
		}
	}
}

// TestSplit: what the proxy alone knows of is told apart only if that is asked for, and then looked at in every way
// that is.
func TestSplit(t *testing.T) {
	c := &clusterv3.Cluster{}
	eject(&v1alpha1.OutlierDetection{SuccessRate: &v1alpha1.SuccessRate{}, FailurePercentage: &v1alpha1.FailurePercentage{}}, c)
	if d := c.OutlierDetection; d.SplitExternalLocalOriginErrors || d.EnforcingSuccessRate.Value != 100 || d.EnforcingFailurePercentage.Value != 100 {
		t.Errorf("together: %v", d)
	}
	eject(&v1alpha1.OutlierDetection{ConsecutiveLocalErrors: new(int32(4)), FailurePercentage: &v1alpha1.FailurePercentage{}}, c)
	if d := c.OutlierDetection; !d.SplitExternalLocalOriginErrors || d.ConsecutiveLocalOriginFailure.Value != 4 ||
		d.EnforcingLocalOriginSuccessRate.GetValue() != 0 || d.EnforcingLocalOriginSuccessRate == nil || d.EnforcingFailurePercentageLocalOrigin.Value != 100 {
		t.Errorf("apart: %v", d)
	}
}
