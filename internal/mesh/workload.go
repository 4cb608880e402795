package mesh

import (
	"github.com/weft-mesh/weft/internal/incr"
)

// workload is what pods that are treated alike have in common.
type workload struct {
	Namespace, ServiceAccount string
	Labels                    map[string]string
	Services                  []string // keys of the Services that select it, in order
	// Ports are the pods' container ports by name, which a Service's targetPort may be.
	Ports map[string]int32
}

// serviceRules are the rules of the routes whose parent is a port of a Service, as pods of namespace
// consumer see them; false when there is none, and requests go to the Service as they are.
func (m *Mesh) serviceRules(_ *incr.Query, service string, port int32, consumer string) ([]Rule, bool) {
	return nil, false
}

// consumers are the namespaces with routes of their own for a port of another namespace's Service,
// in order.
func (m *Mesh) consumers(_ *incr.Query, service string, port int32) []string { return nil }
