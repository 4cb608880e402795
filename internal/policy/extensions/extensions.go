// Package extensions is the section extensions: filters that Weft does not model.
//
//	scripts of Lua ──────→ checked (script.go) → in Weft's own script (guard.lua) ┐
//	servers of ext_proc ─→ a Cluster that questions go through ──────────────────┼→ one chain of filters per Route or,
//	modules of Wasm ─────→ checked (module.go) → with a bound to their memory ────┘  with a module, per policy
package extensions

import (
	"fmt"
	"net/http"
	"slices"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	"google.golang.org/protobuf/proto"

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
		Apart: apart, IsApart: func(all *[]v1alpha1.Extension) bool { return slices.ContainsFunc(*all, isModule) },
	},
}

const filter = "weft.extensions"

func isModule(e v1alpha1.Extension) bool { return e.Wasm != nil }

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
		case e.Wasm != nil:
			refersToModule(&r, e.Wasm)
		case e.Lua != nil && e.Lua.ConfigMapRef != nil:
			r.Field, r.ConfigMap, r.Key = r.Field+".lua.configMapRef", e.Lua.ConfigMapRef.Name, e.Lua.ConfigMapRef.Key
		case e.Lua != nil:
			r.Field, r.Text = r.Field+".lua.source", e.Lua.Source
		}
		out = append(out, r)
	}
	for i, e := range *all {
		if passesOver(*all, e) {
			out = append(out, room.Reference{Field: fmt.Sprintf("[%d]", i), Check: notAlone, Instead: "requests are answered 500"})
		}
	}
	return out
}

// passesOver says whether an extension waits for an answer, or may, and has others beside it: Envoy runs the filters of a
// place one after the other, and passes over those that are left when one of them goes on after a wait.
func passesOver(all []v1alpha1.Extension, e v1alpha1.Extension) bool {
	return len(all) > 1 && (e.ExtProc != nil || isModule(e))
}

func notAlone(string) string {
	return "waits for answers, and proxies would pass over the others meanwhile: a server, or a module, must be the policy's only extension"
}

func refersToModule(r *room.Reference, w *v1alpha1.Wasm) {
	r.Check = checkModule
	if w.ConfigMapRef != nil {
		r.Field, r.ConfigMap, r.Key, r.Binary = r.Field+".wasm.configMapRef", w.ConfigMapRef.Name, w.ConfigMapRef.Key, true
		return
	}
	r.Field += ".wasm.remote"
	if w.Remote != nil {
		r.Remote = room.Remote{URL: w.Remote.URL, SHA256: w.Remote.SHA256}
	}
}

// extend has the requests of a Route meet the extensions or, where one that may not be missing is, an error. With a
// module among them they are in a filter of their own: a copy in each Route would be too much.
func extend(w room.Written[[]v1alpha1.Extension], found []room.Referent, r *routev3.Route) {
	if r.GetDirectResponse() != nil {
		return
	}
	if w.Apart != "" {
		room.Fill(r, w.Apart, &xdsmatcherv3.Matcher{OnNoMatch: room.Run("extend", &compositev3.ExecuteFilterAction{FilterChainName: all})})
		return
	}
	chain, closed := filters(w, found)
	switch {
	case closed:
		r.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: http.StatusInternalServerError}}
	case len(chain) > 0:
		room.Fill(r, filter, &xdsmatcherv3.Matcher{OnNoMatch: room.Run("extend", &compositev3.ExecuteFilterAction{FilterChain: &compositev3.FilterChainConfiguration{TypedConfig: chain}})})
	}
}

// all is the name of the chain of a filter that is apart.
const all = "all"

// apart is a filter of all extensions of a policy.
func apart(w room.Written[[]v1alpha1.Extension], found []room.Referent) proto.Message {
	chain, closed := filters(w, found)
	switch {
	case closed:
		chain = []*corev3.TypedExtensionConfig{ours(refuses)}
	case len(chain) == 0:
		return &compositev3.Composite{}
	default:
		chain = slices.Concat([]*corev3.TypedExtensionConfig{ours(takesNotes)}, chain, []*corev3.TypedExtensionConfig{ours(fmt.Sprintf(comparesNotes, w.Policy))})
	}
	return &compositev3.Composite{NamedFilterChains: map[string]*compositev3.FilterChainConfiguration{all: {TypedConfig: chain}}}
}

// filters are the filters of what was found; closed says that something is missing which may not be.
func filters(w room.Written[[]v1alpha1.Extension], found []room.Referent) (chain []*corev3.TypedExtensionConfig, closed bool) {
	for i, e := range *w.Says {
		switch missing := i >= len(found) || found[i].Problem != ""; {
		case passesOver(*w.Says, e):
			return nil, true
		case missing && e.FailOpen:
		case missing:
			return nil, true
		case e.ExtProc != nil:
			chain = append(chain, wire.Extension("envoy.filters.http.ext_proc", processor(w.Policy, e, found[i])))
		case e.Wasm != nil:
			chain = append(chain, wire.Extension("envoy.filters.http.wasm", runs(w.Policy, e, found[i].Text)))
		default:
			chain = append(chain, wire.Extension("envoy.filters.http.lua", guarded(w.Policy, e, found[i].Text, len(*w.Says) == 1)))
		}
	}
	return chain, false
}

func inline(text string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: text}}
}
