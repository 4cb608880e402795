// Package policy lists the sections of MeshPolicy. Each has a room of its own: a package with what it
// means, beside its type in api/v1alpha1.
package policy

import (
	"github.com/weft-mesh/weft/internal/policy/egress"
	"github.com/weft-mesh/weft/internal/policy/mtls"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/servertls"
)

// All are the sections, those that put filters into a proxy in the order of the filters.
var All = []room.Room{
	mtls.Section.Room(),
	egress.Section.Room(),
	servertls.Section.Room(),
}
