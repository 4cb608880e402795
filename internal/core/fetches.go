package core

import (
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Fetch is a text that policies want fetched, as long as they do. What came of it is an input: Tables.Fetched, by
// the Remote's Key.
//
//	mesh.Modules → Fetches ─(HTTP)→ tables.Fetched → mesh
type Fetch struct {
	room.Remote
	Wanted bool
}

// publishFetches keeps what policies want fetched.
func (c *Core) publishFetches() {
	incr.Keep(mesh.Memo(c.mesh, "fetch", func(*incr.Query, string) struct{} { return struct{}{} }), func(k string, _ struct{}, has bool) {
		if from := room.ParseRemote(k); has {
			c.Fetches.Put(k, Fetch{from, true})
		} else {
			c.Fetches.Forget(k, Fetch{from, false})
		}
	}, c.mesh.Modules)
}
