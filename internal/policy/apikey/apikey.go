// Package apikey is the section apiKey: requests that must have a key, and who they then are of.
//
//	Secrets ─→ whose each key is (keys.go) ─→ look for a key, by levels → remove keys
package apikey

import (
	"cmp"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	apikeyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/api_key_auth/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// Section is about requests, and guards them.
var Section = room.Section[v1alpha1.APIKey]{
	Name:     "apiKey",
	Of:       func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.APIKey { return spec.APIKey },
	On:       []room.Kind{room.Mesh, room.Namespace, room.ServiceAccount, room.Pods, room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Traffic:  room.Traffic[v1alpha1.APIKey]{Refers: refers},
	Guarding: room.Guarding[v1alpha1.APIKey]{Guard: guard, Clash: clash, Collide: collide},
}

func refers(s *v1alpha1.APIKey) []room.Reference {
	var names []string
	for _, ref := range s.SecretRefs {
		names = append(names, ref.Name)
	}
	return []room.Reference{{Field: ".secretRefs", Secrets: names, Read: read, Instead: "nobody is let in by that"}}
}

// clash finds what two policies say otherwise of where a key is and of what becomes of it.
func clash(older, newer *v1alpha1.APIKey) string {
	return room.Differ(older, newer, map[string]func(*v1alpha1.APIKey) any{
		"clientHeader": func(s *v1alpha1.APIKey) any { return strings.ToLower(string(s.ClientHeader)) },
		"forward":      func(s *v1alpha1.APIKey) any { return forwards(s) },
		"from":         func(s *v1alpha1.APIKey) any { return places(s) },
	})
}

func collide(older, newer []room.Referent) string {
	if room.Collides(older, newer) {
		return "has a key that another client has here: nobody is let in by it; give each client a key of its own"
	}
	return ""
}

func forwards(s *v1alpha1.APIKey) bool { return s.Forward != nil && *s.Forward }

// guard has requests looked at for a key of each level. A level that has none lets nothing pass.
func guard(said []room.Written[v1alpha1.APIKey], found [][]room.Referent, at room.Kind) (out []*corev3.TypedExtensionConfig) {
	levels := room.ByLevel(said, found, clash)
	for _, l := range levels {
		keys := room.PairsOf(l)
		if len(keys) == 0 {
			return []*corev3.TypedExtensionConfig{room.Refuse(503)}
		}
		out = append(out, wire.Extension("envoy.filters.http.api_key_auth", look(l[0].Says, keys)))
	}
	return append(out, spent(levels, at)...)
}

// look demands one of the keys, and keeps it: another level may look for it too.
func look(s *v1alpha1.APIKey, keys room.Pairs) *apikeyv3.ApiKeyAuth {
	out := &apikeyv3.ApiKeyAuth{}
	for key, client := range keys {
		out.Credentials = append(out.Credentials, &apikeyv3.Credential{Key: key, Client: client})
	}
	slices.SortFunc(out.Credentials, func(a, b *apikeyv3.Credential) int {
		return cmp.Or(strings.Compare(a.Client, b.Client), strings.Compare(a.Key, b.Key))
	})
	for _, p := range places(s) {
		out.KeySources = append(out.KeySources, &apikeyv3.KeySource{Header: p.Header, Query: p.QueryParam, Cookie: p.Cookie})
	}
	if s.ClientHeader != "" {
		out.Forwarding = &apikeyv3.Forwarding{Header: string(s.ClientHeader)}
	}
	return out
}

// places are where a key may be.
func places(s *v1alpha1.APIKey) (out []v1alpha1.KeyPlace) {
	for _, p := range s.From {
		p.Header = strings.ToLower(p.Header)
		out = append(out, p)
	}
	if len(out) == 0 {
		out = []v1alpha1.KeyPlace{{Header: "x-api-key"}}
	}
	return out
}

// spent removes keys from where they go no further: but where a sidecar asks for one again.
func spent(levels [][]room.Heard[v1alpha1.APIKey], at room.Kind) []*corev3.TypedExtensionConfig {
	gone := map[v1alpha1.KeyPlace]bool{}
	for _, l := range slices.Backward(levels) { // the outermost has the last word
		for _, p := range places(l[0].Says) {
			if again := l[0].Again(at); again || !forwards(l[0].Says) {
				gone[p] = !again
			}
		}
	}
	var headers, params, cookies []string
	for p, gone := range gone {
		switch {
		case !gone:
		case p.Header != "":
			headers = append(headers, p.Header)
		case p.QueryParam != "":
			params = append(params, p.QueryParam)
		default:
			cookies = append(cookies, p.Cookie)
		}
	}
	slices.Sort(headers)
	slices.Sort(params)
	slices.Sort(cookies)
	return append(room.Without(headers, params), room.WithoutCookies(cookies, false)...)
}
