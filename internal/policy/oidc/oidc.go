// Package oidc is the section oidc: people who must have logged in at an OpenID provider.
//
//	issuer ─→ its endpoints, which the operator looks up (discovery.go)
//	       └─→ Envoy's filter of OAuth 2 (filter.go), which has a cluster to the provider, and the secrets by SDS (login.go)
package oidc

import (
	"reflect"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section is about requests at Gateways, and guards them.
var Section = room.Section[v1alpha1.OIDC]{
	Name:     "oidc",
	Of:       func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.OIDC { return spec.OIDC },
	On:       []room.Kind{room.Gateway, room.HTTPRoute},
	Traffic:  room.Traffic[v1alpha1.OIDC]{Refers: refers},
	Guarding: room.Guarding[v1alpha1.OIDC]{Guard: guard, Clash: clash},
}

// login is what one policy says, with the endpoints of its provider.
type login struct {
	*v1alpha1.OIDC
	policy    string
	endpoints Endpoints
	able      bool // all that it needs is there
	alone     bool // no other login is demanded: the filter of that would be passed over while a session is refreshed
}

// guard has requests be of somebody who has logged in at each level. Where that cannot be, it lets nothing pass.
func guard(said []room.Written[v1alpha1.OIDC], found [][]room.Referent, _ room.Kind) (out []*corev3.TypedExtensionConfig) {
	logins := loginsOf(said, found)
	for i, l := range logins {
		if !l.able || slices.ContainsFunc(logins[:i], func(o login) bool { return Overlap(o.OIDC, l.OIDC) != "" }) {
			return []*corev3.TypedExtensionConfig{room.Refuse(503)}
		}
		l.alone = len(logins) == 1
		out = append(append(out, l.filter()), l.eatCookies()...)
	}
	return out
}

// Split are the filters by which people log in, or by which nobody can, and those of requests that have passed them. A
// session is refreshed while its request waits: what comes after that in one place would be passed over.
func Split(filters []*corev3.TypedExtensionConfig) (logins, after []*corev3.TypedExtensionConfig) {
	for _, f := range filters {
		if f.Name == room.CookieFilter {
			after = append(after, f)
		} else {
			logins = append(logins, f)
		}
	}
	return logins, after
}

// loginsOf are those of each level, from outside in: in a level, that of the oldest policy.
func loginsOf(said []room.Written[v1alpha1.OIDC], found [][]room.Referent) (out []login) {
	for i, w := range said {
		if i > 0 && said[i-1].Level == w.Level {
			continue
		}
		l := login{OIDC: w.Says, policy: w.Policy}
		if l.able = len(found[i]) > 0; l.able {
			l.endpoints, l.able = ParseEndpoints(found[i][0].Text)
		}
		l.able = l.able && !slices.ContainsFunc(found[i], func(r room.Referent) bool { return r.Problem != "" })
		out = append(out, l)
	}
	return out
}

// clash finds a difference between policies of one level, of which one login only can be.
func clash(older, newer *v1alpha1.OIDC) string {
	a, b := reflect.ValueOf(*older), reflect.ValueOf(*newer)
	for i := range a.NumField() {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			return "." + jsonName(a.Type().Field(i))
		}
	}
	return ""
}

// Overlap is the first field by which two logins that must both be there cannot be told apart; "": they can.
func Overlap(outer, inner *v1alpha1.OIDC) string {
	taken := []string{outer.RedirectPath, outer.LogoutPath}
	switch {
	case slices.Contains(taken, inner.RedirectPath):
		return ".redirectPath"
	case slices.Contains(taken, inner.LogoutPath):
		return ".logoutPath"
	case prefix(outer) == prefix(inner):
		return ".cookie.prefix"
	}
	return ""
}

// Paths are where Gateways answer by themselves for a login.
func Paths(s *v1alpha1.OIDC) []string { return []string{s.RedirectPath, s.LogoutPath} }

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func prefix(s *v1alpha1.OIDC) string {
	if s.Cookie == nil {
		return ""
	}
	return s.Cookie.Prefix
}
