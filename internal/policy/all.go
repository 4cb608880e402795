// Package policy lists the sections of MeshPolicy. Each has a room of its own: a package with what it
// means, beside its type in api/v1alpha1.
package policy

import (
	"slices"

	"github.com/weft-mesh/weft/internal/policy/admissioncontrol"
	"github.com/weft-mesh/weft/internal/policy/apikey"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/basicauth"
	"github.com/weft-mesh/weft/internal/policy/circuitbreaker"
	"github.com/weft-mesh/weft/internal/policy/compression"
	"github.com/weft-mesh/weft/internal/policy/egress"
	"github.com/weft-mesh/weft/internal/policy/extauth"
	"github.com/weft-mesh/weft/internal/policy/extensions"
	"github.com/weft-mesh/weft/internal/policy/fault"
	"github.com/weft-mesh/weft/internal/policy/healthcheck"
	"github.com/weft-mesh/weft/internal/policy/hedging"
	"github.com/weft-mesh/weft/internal/policy/jwt"
	"github.com/weft-mesh/weft/internal/policy/loadbalancing"
	"github.com/weft-mesh/weft/internal/policy/locality"
	"github.com/weft-mesh/weft/internal/policy/match"
	"github.com/weft-mesh/weft/internal/policy/mtls"
	"github.com/weft-mesh/weft/internal/policy/oidc"
	"github.com/weft-mesh/weft/internal/policy/outlierdetection"
	"github.com/weft-mesh/weft/internal/policy/ratelimit"
	"github.com/weft-mesh/weft/internal/policy/retry"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/servertls"
	"github.com/weft-mesh/weft/internal/policy/timeout"
)

// All are the sections, those that put filters into a proxy in the order of the filters.
var All = []room.Room{
	mtls.Section.Room(),
	egress.Section.Room(),
	servertls.Section.Room(),
	apikey.Section.Room(),
	basicauth.Section.Room(),
	oidc.Section.Room(),          // before what may verify the token that a login brings
	jwt.Section.Room(),           // before all that may go by claims
	authorization.Section.Room(), // after what verifies the claims that it asks for
	extauth.Section.Room(),       // the last that guards: what comes after an answer that is waited for is passed over
	match.Section.Room(),
	circuitbreaker.Section.Room(),
	compression.Section.Room(), // before, and so outside of, all that may look at an answer's body
	ratelimit.Section.Room(),
	admissioncontrol.Section.Room(), // after what turns requests away whatever becomes of them; before what fails on purpose
	loadbalancing.Section.Room(),
	locality.Section.Room(),         // after what says by which extension a cluster is balanced
	outlierdetection.Section.Room(), // after what says when too few pods are well
	healthcheck.Section.Room(),
	retry.Section.Room(),
	timeout.Section.Room(),
	hedging.Section.Room(),
	fault.Section.Room(),
	extensions.Section.Room(), // last: what others turn away, no script sees
}

// ByName is the Room of a section; false if there is none of that name.
func ByName(section string) (room.Room, bool) {
	i := slices.IndexFunc(All, func(r room.Room) bool { return r.Name == section })
	if i < 0 {
		return room.Room{}, false
	}
	return All[i], true
}

// Narrows says whether what was decided narrows a rule.
func Narrows(d room.Decided) bool {
	r, ok := ByName(d.Section)
	return ok && !d.Ended && r.Match != nil
}
