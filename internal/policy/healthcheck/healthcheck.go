// Package healthcheck is the section healthCheck: proxies ask the pods of a Service whether they are well.
package healthcheck

import (
	"encoding/hex"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section is about what is sent to Services.
var Section = room.Section[v1alpha1.HealthCheck]{
	Name:    "healthCheck",
	Of:      func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.HealthCheck { return spec.HealthCheck },
	On:      []room.Kind{room.Mesh, room.Namespace, room.Service},
	Holds:   room.Innermost[v1alpha1.HealthCheck],
	Traffic: room.Traffic[v1alpha1.HealthCheck]{Upstream: check, Fits: fits},
}

const (
	interval  = 10 * time.Second
	timeout   = time.Second
	unhealthy = 3
	healthy   = 2
	jitter    = 10 // percent
)

// fits says which check has a meaning where: what is read as HTTP answers nothing else.
func fits(s *v1alpha1.HealthCheck, protocol string) bool {
	switch protocol {
	case "http1":
		return s.HTTP != nil
	case "http2":
		return s.HTTP != nil || s.GRPC != nil
	case "tcp":
		return s.TCP != nil && s.HTTP == nil && s.GRPC == nil
	}
	return false
}

// check uses the socket of each endpoint: mTLS to those in the mesh.
func check(s *v1alpha1.HealthCheck, c *clusterv3.Cluster) {
	every := room.Duration(s.Interval, interval)
	h := &corev3.HealthCheck{
		Interval:              every,
		NoTrafficInterval:     every, // by a statistic that proxies do not keep, no Cluster has traffic
		IntervalJitterPercent: jitter,
		Timeout:               room.Duration(s.Timeout, timeout),
		UnhealthyThreshold:    room.Number(s.UnhealthyThreshold, unhealthy),
		HealthyThreshold:      room.Number(s.HealthyThreshold, healthy),
	}
	switch {
	case s.HTTP != nil:
		h.HealthChecker = &corev3.HealthCheck_HttpHealthCheck_{HttpHealthCheck: get(s.HTTP, c)}
	case s.GRPC != nil:
		h.HealthChecker = &corev3.HealthCheck_GrpcHealthCheck_{GrpcHealthCheck: &corev3.HealthCheck_GrpcHealthCheck{
			ServiceName: s.GRPC.Service, Authority: host(c.Name),
		}}
	case s.TCP != nil:
		h.HealthChecker = &corev3.HealthCheck_TcpHealthCheck_{TcpHealthCheck: exchange(s.TCP)}
	}
	c.HealthChecks = []*corev3.HealthCheck{h}
	// A pod that is withdrawn goes at once, not when it fails its check.
	c.IgnoreHealthOnHostRemoval = true
}

func get(s *v1alpha1.HTTPHealthCheck, c *clusterv3.Cluster) *corev3.HealthCheck_HttpHealthCheck {
	out := &corev3.HealthCheck_HttpHealthCheck{
		Path: s.Path, Host: s.Host,
		// Without these, one answer of another status would be enough.
		RetriableStatuses: []*typev3.Int64Range{{Start: 100, End: 600}},
	}
	if out.Host == "" {
		out.Host = host(c.Name)
	}
	if speaksHTTP2(c) {
		out.CodecClientType = typev3.CodecClientType_HTTP2
	}
	for _, r := range s.ExpectedStatuses {
		start, end := room.Statuses(r)
		out.ExpectedStatuses = append(out.ExpectedStatuses, &typev3.Int64Range{Start: int64(start), End: int64(end)})
	}
	return out
}

func speaksHTTP2(c *clusterv3.Cluster) bool {
	for _, packed := range c.TypedExtensionProtocolOptions {
		options := &upstreamhttpv3.HttpProtocolOptions{}
		if packed.UnmarshalTo(options) == nil && options.GetExplicitHttpConfig().GetHttp2ProtocolOptions() != nil {
			return true
		}
	}
	return false
}

func exchange(s *v1alpha1.TCPHealthCheck) *corev3.HealthCheck_TcpHealthCheck {
	out := &corev3.HealthCheck_TcpHealthCheck{Receive: []*corev3.HealthCheck_Payload{payload(s.Receive)}}
	if s.Send != "" {
		out.Send = payload(s.Send)
	}
	return out
}

// payload is a text; Envoy takes it in hexadecimal.
func payload(text string) *corev3.HealthCheck_Payload {
	return &corev3.HealthCheck_Payload{Payload: &corev3.HealthCheck_Payload_Text{Text: hex.EncodeToString([]byte(text))}}
}

// host is what the pods of a Cluster are called by: it is named service/<namespace>/<service>/<port>, or, for sessions
// over several Services, session/<kind>/<namespace>/<route>/<rule>.
func host(cluster string) string {
	if parts := strings.Split(cluster, "/"); len(parts) > 3 && parts[0] == "service" {
		return parts[2] + "." + parts[1]
	} else if len(parts) > 3 {
		return parts[3] + "." + parts[2]
	}
	return "health-check"
}
