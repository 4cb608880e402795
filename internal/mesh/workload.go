package mesh

// workload is what pods that are treated alike have in common.
type workload struct {
	Namespace, ServiceAccount string
	Labels                    map[string]string
	Services                  []string // keys of the Services that select it, in order
	// Ports are the pods' container ports by name, which a Service's targetPort may be.
	Ports map[string]int32
}
