package envoy

import (
	"cmp"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/mesh"
)

// Endpoints is one Cluster's addresses, a locality for each zone.
func Endpoints(e mesh.Endpoints) *endpointv3.ClusterLoadAssignment {
	assignment := &endpointv3.ClusterLoadAssignment{ClusterName: e.Cluster}
	zones := map[string]*endpointv3.LocalityLbEndpoints{}
	for _, at := range e.Addresses {
		zone := zones[at.Zone]
		if zone == nil {
			zone = &endpointv3.LocalityLbEndpoints{Locality: &corev3.Locality{Zone: at.Zone}}
			zones[at.Zone] = zone
			assignment.Endpoints = append(assignment.Endpoints, zone)
		}
		zone.LbEndpoints = append(zone.LbEndpoints, endpoint(at))
	}
	slices.SortFunc(assignment.Endpoints, func(a, b *endpointv3.LocalityLbEndpoints) int {
		return cmp.Compare(a.Locality.Zone, b.Locality.Zone)
	})
	return assignment
}

func endpoint(e mesh.Endpoint) *endpointv3.LbEndpoint {
	lb := &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
		Endpoint: &endpointv3.Endpoint{Address: tcp(e.Address, e.Port)},
	}}
	if e.Identity != "" {
		lb.Metadata = inMesh
	}
	if e.Idle {
		lb.HealthStatus = idle
	}
	if e.Weight > 0 {
		lb.LoadBalancingWeight = wrapperspb.UInt32(e.Weight)
	}
	return lb
}
