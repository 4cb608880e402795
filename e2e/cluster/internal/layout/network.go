package layout

// Names and addresses of the cluster. All are private to the machine.
const (
	NodeName = "weft"
	Region   = "local"
	Zone     = "local-a"

	// NodeLink carries the node's addresses and the routes to Services, so that the
	// host itself can reach them. It is a bridge without ports, which every kernel
	// that can run the pods has; some lack dummy links.
	NodeLink   = "weft0"
	NodeIPv4   = "10.243.0.1"
	NodeIPv6   = "fd00:10:243::1"
	PodBridge  = "weft-pods"
	PodCIDRv4  = "10.244.0.0/16"
	PodCIDRv6  = "fd00:10:244::/64"
	ServicesV4 = "10.96.0.0/16"
	ServicesV6 = "fd00:10:96::/112"
	// LoadBalancer pools: the same index in both gives a Service's two addresses.
	PoolV4 = "10.242.0.0/24"
	PoolV6 = "fd00:10:242::/120"

	APIServerPort      = "6443"
	KubernetesService  = "10.96.0.1"
	DNSServiceV4       = "10.96.0.10"
	DNSServiceV6       = "fd00:10:96::a"
	ClusterDomain      = "cluster.local"
	PauseImage         = "weft.local/pause:1"
	ContainerNamespace = "k8s.io"
)
