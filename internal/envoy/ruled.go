package envoy

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/weft-mesh/weft/internal/mesh"
)

// Ruled is one of a virtual host's Routes, and the rule that it is of.
type Ruled struct {
	*routev3.Route
	Rule *mesh.Rule
}

// RuledRoutes are the Routes of a virtual host, in the order in which Envoy tries them.
func RuledRoutes(v mesh.VirtualHost) (out []Ruled) {
	routes := VirtualHost(v).Routes
	for i, c := range candidates(takenBy(v)) {
		out = append(out, Ruled{routes[i], c.rule})
	}
	return out
}
