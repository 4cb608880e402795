package envoy

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/ratelimit"
)

// Files are where a proxy has what it meets the operator with: what [TokenFile] and [RootsFile] return, each in
// a directory of its own.
type Files struct{ Token, Roots string }

// The Files of a Gateway's proxies, and those of sidecars.
var (
	GatewayFiles = Files{Token: "/etc/weft/token-sds/token.json", Roots: "/etc/weft/roots-sds/roots.json"}
	SidecarFiles = Files{Token: SidecarFolder + "/token/token.json", Roots: SidecarFolder + "/roots/roots.json"}
)

// SidecarFolder is where weft redirect writes the SidecarFiles.
const SidecarFolder = "/run/weft/sds"

// QuotaCluster is the replica of the operator that counts for all proxies; without an address nobody is asked,
// and it is known at once that nobody answers. Proxies prove who they are as they do to be served.
func QuotaCluster(owner mesh.Endpoint, files Files) *clusterv3.Cluster {
	return serverCluster(ratelimit.Cluster, mesh.OperatorService, owner, files)
}

// AuthzCluster is where weft authz hears, in the same way.
func AuthzCluster(at mesh.Endpoint, files Files) *clusterv3.Cluster {
	return serverCluster(mesh.Authz, mesh.AuthzService, at, files)
}

// ChecksCluster is where it is asked: of its pods, the less busy of any two.
func ChecksCluster(files Files) *clusterv3.Cluster {
	out := serverCluster(mesh.Checks, mesh.AuthzService, mesh.Endpoint{}, files)
	out.LbPolicy, out.LoadAssignment = clusterv3.Cluster_LEAST_REQUEST, nil
	out.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
	out.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads()}
	return out
}

// serverCluster is one pod of one of Weft's own Services.
func serverCluster(name, service string, at mesh.Endpoint, files Files) *clusterv3.Cluster {
	out := operatorCluster(name, Proxy{
		XDSName:      service + "." + v1alpha1.SystemNamespace + ".svc",
		TokenSDSPath: files.Token,
		RootsSDSPath: files.Roots,
	})
	out.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	out.CircuitBreakers = breakers(nil)
	out.LoadAssignment = &endpointv3.ClusterLoadAssignment{ClusterName: out.Name}
	if at.Address != "" {
		out.LoadAssignment = oneEndpoint(out.Name, tcp(at.Address, at.Port))
	}
	return out
}
