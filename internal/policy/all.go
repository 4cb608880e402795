// Package policy lists the sections of MeshPolicy. Each has a room of its own: a package with what it
// means, beside its type in api/v1alpha1.
package policy

import (
	"slices"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/weft-mesh/weft/internal/policy/circuitbreaker"
	"github.com/weft-mesh/weft/internal/policy/egress"
	"github.com/weft-mesh/weft/internal/policy/fault"
	"github.com/weft-mesh/weft/internal/policy/mtls"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/servertls"
	"github.com/weft-mesh/weft/internal/policy/timeout"
)

// All are the sections, those that put filters into a proxy in the order of the filters.
var All = []room.Room{
	mtls.Section.Room(),
	egress.Section.Room(),
	servertls.Section.Room(),
	circuitbreaker.Section.Room(),
	timeout.Section.Room(),
	fault.Section.Room(),
}

// ByName is the Room of a section; false if there is none of that name.
func ByName(section string) (room.Room, bool) {
	i := slices.IndexFunc(All, func(r room.Room) bool { return r.Name == section })
	if i < 0 {
		return room.Room{}, false
	}
	return All[i], true
}

// Filters are those that sections configure for the Routes of their policies, in the order of All.
func Filters() (out []*hcmv3.HttpFilter) {
	for _, r := range All {
		if r.Filter != nil {
			out = append(out, r.Filter)
		}
	}
	return out
}
