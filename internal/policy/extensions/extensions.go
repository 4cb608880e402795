// Package extensions is the section extensions: filters that Weft does not model.
//
//	scripts of Lua ──────→ checked (script.go) → in Weft's own script (guard.lua) ┐
//	servers of ext_proc ─→ a Cluster that questions go through ──────────────────┴→ one chain of filters per Route
package extensions

import (
	"fmt"
	"net/http"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// Section is about requests. Of all of a namespace or the mesh it is not: each sidecar would run a script for
// each Service that it knows, and one that is wrong would stop them all.
var Section = room.Section[[]v1alpha1.Extension]{
	Name: "extensions",
	Of: func(spec *v1alpha1.MeshPolicySpec) *[]v1alpha1.Extension {
		if len(spec.Extensions) == 0 {
			return nil
		}
		return &spec.Extensions
	},
	On:    []room.Kind{room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Holds: room.Innermost[[]v1alpha1.Extension],
	Traffic: room.Traffic[[]v1alpha1.Extension]{
		Filter: room.Place(filter),
		Refers: refers, Referring: extend,
	},
}

const filter = "weft.extensions"

// refers has one Reference for each extension.
func refers(all *[]v1alpha1.Extension) (out []room.Reference) {
	for i, e := range *all {
		r := room.Reference{Field: fmt.Sprintf("[%d]", i), Check: check, Instead: "its requests are answered 500"}
		if e.FailOpen {
			r.Instead = "requests go on without it"
		}
		switch {
		case e.ExtProc != nil:
			r.Field, r.Server = r.Field+".extProc.backendRef", &e.ExtProc.BackendRef
		case e.Lua != nil && e.Lua.ConfigMapRef != nil:
			r.Field, r.ConfigMap, r.Key = r.Field+".lua.configMapRef", e.Lua.ConfigMapRef.Name, e.Lua.ConfigMapRef.Key
		case e.Lua != nil:
			r.Field, r.Text = r.Field+".lua.source", e.Lua.Source
		}
		out = append(out, r)
	}
	return out
}

// extend has the requests of a Route meet the extensions, or, where one that may not be missing is, an error.
func extend(w room.Written[[]v1alpha1.Extension], found []room.Referent, r *routev3.Route) {
	if r.GetDirectResponse() != nil {
		return
	}
	chain := &compositev3.FilterChainConfiguration{}
	for i, e := range *w.Says {
		switch missing := i >= len(found) || found[i].Problem != ""; {
		case missing && e.FailOpen:
		case missing:
			r.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: http.StatusInternalServerError}}
			return
		case e.ExtProc != nil:
			chain.TypedConfig = append(chain.TypedConfig, wire.Extension("envoy.filters.http.ext_proc", processor(w.Policy, e, found[i])))
		default:
			chain.TypedConfig = append(chain.TypedConfig, wire.Extension("envoy.filters.http.lua", guarded(w.Policy, e, found[i].Text)))
		}
	}
	if len(chain.TypedConfig) > 0 {
		room.Fill(r, filter, &xdsmatcherv3.Matcher{OnNoMatch: room.Run("extend", &compositev3.ExecuteFilterAction{FilterChain: chain})})
	}
}

func inline(text string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: text}}
}
