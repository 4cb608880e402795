// Package basicauth is the section basicAuth: requests that must have the name and the password of a user.
//
//	a Secret ─→ how each user's password is hashed (users.go) ─→ look for one, by levels → remove it
package basicauth

import (
	"maps"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	basicauthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/basic_auth/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// Section is about requests, and guards them.
var Section = room.Section[v1alpha1.BasicAuth]{
	Name:     "basicAuth",
	Of:       func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.BasicAuth { return spec.BasicAuth },
	On:       []room.Kind{room.Mesh, room.Namespace, room.ServiceAccount, room.Pods, room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Traffic:  room.Traffic[v1alpha1.BasicAuth]{Refers: refers},
	Guarding: room.Guarding[v1alpha1.BasicAuth]{Guard: guard, Clash: clash, Collide: collide},
}

func refers(s *v1alpha1.BasicAuth) []room.Reference {
	read := func(secrets []room.Credentials) (room.Pairs, []string) { return read(secrets, s.SecretRef.Key) }
	return []room.Reference{{Field: ".secretRef", Secrets: []string{s.SecretRef.Name}, Read: read, Instead: "nobody is let in by that"}}
}

// clash finds what two policies say otherwise of how a password is asked for and of what becomes of it.
func clash(older, newer *v1alpha1.BasicAuth) string {
	return room.Differ(older, newer, map[string]func(*v1alpha1.BasicAuth) any{
		"forward":    func(s *v1alpha1.BasicAuth) any { return forwards(s) },
		"realm":      func(s *v1alpha1.BasicAuth) any { return s.Realm },
		"userHeader": func(s *v1alpha1.BasicAuth) any { return strings.ToLower(string(s.UserHeader)) },
	})
}

func collide(older, newer []room.Referent) string {
	if room.Collides(older, newer) {
		return "has another password for a user of this one: nobody is let in by that name; have each user in one of them"
	}
	return ""
}

func forwards(s *v1alpha1.BasicAuth) bool { return s.Forward != nil && *s.Forward }

// guard has requests looked at for a user of each level. A level that has none lets nothing pass.
func guard(said []room.Written[v1alpha1.BasicAuth], found [][]room.Referent, at room.Kind) (out []*corev3.TypedExtensionConfig) {
	levels := room.ByLevel(said, found, clash)
	for _, l := range levels {
		users := room.PairsOf(l)
		if len(users) == 0 {
			return []*corev3.TypedExtensionConfig{room.Refuse(503)}
		}
		out = append(out, wire.Extension("envoy.filters.http.basic_auth", look(l[0].Says, users)))
	}
	return append(out, spent(levels, at)...)
}

// look demands a user's name and password, and keeps them: another level may look for them too.
func look(s *v1alpha1.BasicAuth, users room.Pairs) *basicauthv3.BasicAuth {
	var lines strings.Builder
	for _, user := range slices.Sorted(maps.Keys(users)) {
		lines.WriteString(user + ":" + users[user] + "\n")
	}
	return &basicauthv3.BasicAuth{
		Users:                 &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: lines.String()}},
		ForwardUsernameHeader: string(s.UserHeader),
		Realm:                 s.Realm,
	}
}

// spent removes passwords that go no further: none where a sidecar asks for one again.
func spent(levels [][]room.Heard[v1alpha1.BasicAuth], at room.Kind) []*corev3.TypedExtensionConfig {
	gone := false
	for _, l := range levels {
		if l[0].Again(at) {
			return nil
		}
		gone = gone || !forwards(l[0].Says)
	}
	if !gone {
		return nil
	}
	return room.Without([]string{"authorization"}, nil)
}
