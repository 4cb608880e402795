package sidecar

// Annotations of a pod, by which its sidecar differs from the defaults in the Mesh. Any other that
// begins with mesh.weft.dev/ is refused.
const (
	// ProxyConcurrency is the number of the proxy's worker threads: 1 to 64, 2 unless the Mesh says
	// otherwise.
	ProxyConcurrency = "mesh.weft.dev/proxy-concurrency"
	// ProxyLogLevel is Envoy's: trace, debug, info, warning (the default), error, critical or off.
	ProxyLogLevel = "mesh.weft.dev/proxy-log-level"
	// ProxyCPU and ProxyMemory are the proxy's resource requests, as quantities: 100m, 128Mi.
	ProxyCPU    = "mesh.weft.dev/proxy-cpu"
	ProxyMemory = "mesh.weft.dev/proxy-memory"
	// ProxyCPULimit and ProxyMemoryLimit are its limits. Near the memory limit the proxy sheds load
	// before the kernel ends it. The least is 64Mi.
	ProxyCPULimit    = "mesh.weft.dev/proxy-cpu-limit"
	ProxyMemoryLimit = "mesh.weft.dev/proxy-memory-limit"
	// ExcludeInboundPorts are ports of the pod, separated by commas, at which what arrives goes to the
	// app as it comes: no mTLS, no policy.
	ExcludeInboundPorts = "mesh.weft.dev/exclude-inbound-ports"
	// ExcludeOutboundPorts are ports, separated by commas, to which the pod connects past the proxy.
	ExcludeOutboundPorts = "mesh.weft.dev/exclude-outbound-ports"
	// ExcludeOutboundCIDRs are ranges of addresses, separated by commas, to which the pod connects past
	// the proxy.
	ExcludeOutboundCIDRs = "mesh.weft.dev/exclude-outbound-cidrs"
)

// InjectedAnnotation marks a pod that was given a sidecar. Its value is the Revision of what it was
// given.
const InjectedAnnotation = "mesh.weft.dev/injected"
