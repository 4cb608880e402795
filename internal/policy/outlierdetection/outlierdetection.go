// Package outlierdetection is the section outlierDetection: pods that fail what one proxy sends to them get nothing
// from it for a time.
package outlierdetection

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section is about what is sent to Services.
var Section = room.Section[v1alpha1.OutlierDetection]{
	Name:    "outlierDetection",
	Of:      func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.OutlierDetection { return spec.OutlierDetection },
	On:      []room.Kind{room.Mesh, room.Namespace, room.Service},
	Holds:   room.Innermost[v1alpha1.OutlierDetection],
	Traffic: room.Traffic[v1alpha1.OutlierDetection]{Upstream: eject, Bytes: true},
}

const (
	consecutive = 5
	interval    = 10 * time.Second
	baseTime    = 30 * time.Second
	maxTime     = 5 * time.Minute
	maxPercent  = 50

	// Below this percentage of pods that are well, Envoy sends to all of them.
	panicPercent = 50
)

func eject(s *v1alpha1.OutlierDetection, c *clusterv3.Cluster) {
	base := room.Duration(s.BaseEjectionTime, baseTime)
	d := &clusterv3.OutlierDetection{
		Consecutive_5Xx:       room.Number(s.Consecutive5xx, consecutive),
		Interval:              room.Duration(s.Interval, interval),
		BaseEjectionTime:      base,
		MaxEjectionTime:       room.Duration(s.MaxEjectionTime, max(maxTime, base.AsDuration())),
		MaxEjectionTimeJitter: room.Duration(s.MaxEjectionTimeJitter, 0),
		MaxEjectionPercent:    room.Hundredths(s.MaxEjectionPercent, maxPercent),
		// What Envoy ejects by unless it is told not to.
		ConsecutiveGatewayFailure: wrapperspb.UInt32(0),
		EnforcingSuccessRate:      wrapperspb.UInt32(0),
	}
	if s.ConsecutiveGatewayErrors != nil {
		d.ConsecutiveGatewayFailure, d.EnforcingConsecutiveGatewayFailure = room.Number(s.ConsecutiveGatewayErrors, 0), always()
	}
	if s.ConsecutiveLocalErrors != nil {
		d.SplitExternalLocalOriginErrors = true
		d.ConsecutiveLocalOriginFailure = room.Number(s.ConsecutiveLocalErrors, 0)
		d.EnforcingLocalOriginSuccessRate = wrapperspb.UInt32(0)
	}
	byRate(d, s.SuccessRate)
	byPercentage(d, s.FailurePercentage)
	c.OutlierDetection = d
	heedBelowHalf(c, d.MaxEjectionPercent.GetValue())
}

func byRate(d *clusterv3.OutlierDetection, s *v1alpha1.SuccessRate) {
	if s == nil {
		return
	}
	d.EnforcingSuccessRate = always()
	d.SuccessRateStdevFactor = room.Number(s.Deviations, 1900)
	d.SuccessRateMinimumHosts = room.Number(s.MinimumPods, 5)
	d.SuccessRateRequestVolume = room.Number(s.MinimumRequests, 100)
	if d.SplitExternalLocalOriginErrors {
		d.EnforcingLocalOriginSuccessRate = always()
	}
}

func byPercentage(d *clusterv3.OutlierDetection, s *v1alpha1.FailurePercentage) {
	if s == nil {
		return
	}
	d.EnforcingFailurePercentage = always()
	d.FailurePercentageThreshold = room.Hundredths(s.Threshold, 85)
	d.FailurePercentageMinimumHosts = room.Number(s.MinimumPods, 5)
	d.FailurePercentageRequestVolume = room.Number(s.MinimumRequests, 50)
	if d.SplitExternalLocalOriginErrors {
		d.EnforcingFailurePercentageLocalOrigin = always()
	}
}

// heedBelowHalf has as large a part of the pods left out as may be, unless another section said what is to become
// of a Service most of whose pods are unwell. If all are, Envoy sends to all: one percent is never reached.
func heedBelowHalf(c *clusterv3.Cluster, percent uint32) {
	least := max(1, 100-float64(min(percent, 100)))
	if least >= panicPercent || c.GetCommonLbConfig().GetHealthyPanicThreshold() != nil {
		return
	}
	if c.CommonLbConfig == nil {
		c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{}
	}
	c.CommonLbConfig.HealthyPanicThreshold = &typev3.Percent{Value: least}
}

func always() *wrapperspb.UInt32Value { return wrapperspb.UInt32(100) }
