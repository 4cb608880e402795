package mesh

import (
	"github.com/weft-mesh/weft/internal/incr"
)

// workload is what pods that are treated alike have in common.
type workload struct {
	Namespace, ServiceAccount string
	Labels                    map[string]string
	Services                  []string // keys of the Services that select it, in order
}

// MTLSMode says what a port of a workload accepts.
type MTLSMode string

// The modes. Strict is the default.
const (
	MTLSStrict     MTLSMode = "Strict"     // mTLS only
	MTLSPermissive MTLSMode = "Permissive" // plaintext too
)

// EgressMode says what becomes of connections to destinations that the mesh does not know.
type EgressMode string

// The modes. Allow is the default.
const (
	EgressAllow EgressMode = "Allow"
	EgressDeny  EgressMode = "Deny"
)

// mtls is the mode of one port (of the pods, not of a Service) of a workload.
func (m *Mesh) mtls(*incr.Query, workload, int32) MTLSMode { return MTLSStrict }

// egress is the mode of a workload.
func (m *Mesh) egress(*incr.Query, workload) EgressMode { return EgressAllow }
