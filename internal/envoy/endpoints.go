package envoy

import (
	"cmp"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/mesh"
)

// Endpoints is one Cluster's addresses, a locality for each zone or as a policy has arranged them.
func Endpoints(e mesh.Endpoints) *endpointv3.ClusterLoadAssignment {
	assignment := &endpointv3.ClusterLoadAssignment{ClusterName: e.Cluster}
	for _, l := range localities(e) {
		out := &endpointv3.LocalityLbEndpoints{
			Locality: &corev3.Locality{Region: l.Region, Zone: l.Zone, SubZone: l.Within}, Priority: l.Priority,
		}
		if l.Weight > 0 {
			out.LoadBalancingWeight = wrapperspb.UInt32(l.Weight)
		}
		for _, at := range l.Addresses {
			out.LbEndpoints = append(out.LbEndpoints, endpoint(at))
		}
		assignment.Endpoints = append(assignment.Endpoints, out)
	}
	return assignment
}

// localities are those of some Endpoints. Without a policy those of one zone are together, and make no difference.
func localities(e mesh.Endpoints) []mesh.Locality {
	if len(e.Localities) > 0 {
		return e.Localities
	}
	var out []mesh.Locality
	for _, at := range e.Addresses {
		i := slices.IndexFunc(out, func(l mesh.Locality) bool { return l.Zone == at.Zone })
		if i < 0 {
			i, out = len(out), append(out, mesh.Locality{Zone: at.Zone})
		}
		out[i].Addresses = append(out[i].Addresses, at)
	}
	slices.SortFunc(out, func(a, b mesh.Locality) int { return cmp.Compare(a.Zone, b.Zone) })
	return out
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
