// Package jwt is the section jwt: requests that must have a JSON Web Token, and by whom it must be made.
//
//	providers ─→ their key sets (keys.go; kept.go: which ones the operator fetches)
//	         └─→ remove claims' headers → verify tokens → look for claims → remove tokens
package jwt

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

const section = "jwt"

// Section is about requests, and guards them.
var Section = room.Section[v1alpha1.JWT]{
	Name:     section,
	Of:       func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.JWT { return spec.JWT },
	On:       []room.Kind{room.Mesh, room.Namespace, room.ServiceAccount, room.Pods, room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Traffic:  room.Traffic[v1alpha1.JWT]{Refers: refers},
	Shadow:   true,
	Guarding: room.Guarding[v1alpha1.JWT]{Guard: guard, Identify: identify, Clash: clash, Try: try},
}

// provider is one of those of a level, with its keys.
type provider struct {
	v1alpha1.JWTProvider
	name  string // of the policy and its own
	keys  string // "": none can be had
	strip bool   // the token goes no further
}

// level are the providers of which one must have made a request's token.
type level struct {
	room.Level
	policy string // the oldest
	of     []provider
	key    string // in room.ClaimsNamespace, of the claims
}

// guard has requests verified. A level whose providers have no keys lets nothing pass.
func guard(said []room.Written[v1alpha1.JWT], found [][]room.Referent, at room.Kind) (out []*corev3.TypedExtensionConfig) {
	levels := levelsOf(said, found, at, false)
	tried, headers := triedBeside(levels, levelsOf(said, found, at, true))
	if slices.ContainsFunc(levels, func(l level) bool { return len(l.able()) == 0 }) {
		return []*corev3.TypedExtensionConfig{room.Refuse(503)}
	}
	out = append(out, room.Without(sorted(append(claimHeaders(levels), headers...)), nil)...)
	if f := verify(levels, tried); f != nil {
		out = append(out, wire.Extension("envoy.filters.http.jwt_authn", f))
	}
	if claims := demands(levels); claims != nil {
		out = append(out, wire.Extension(wire.RBAC, claims))
	}
	return append(out, room.Without(spent(levels))...)
}

// identify has tokens verified that the providers of a level made, if there are any.
func identify(said []room.Written[v1alpha1.JWT], found [][]room.Referent, key string) *corev3.TypedExtensionConfig {
	l := levelsOf(said, found, room.Service, false)[0]
	l.key = key
	if len(l.able()) == 0 {
		return nil
	}
	for i := range l.of {
		l.of[i].ClaimHeaders = nil // which are for who demands the token to fill
	}
	out := &jwtv3.JwtAuthentication{Providers: map[string]*jwtv3.JwtProvider{}}
	out.Rules = always(oneOf(append(l.ways(out), orNone())))
	return wire.Extension("envoy.filters.http.jwt_authn", out)
}

func orNone() *jwtv3.JwtRequirement {
	return &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_AllowMissingOrFailed{AllowMissingOrFailed: &emptypb.Empty{}}}
}

// levelsOf are the levels at which something is said, in Shadow or not, from outside in. Of an issuer that several
// policies of one level name, the oldest holds.
func levelsOf(said []room.Written[v1alpha1.JWT], found [][]room.Referent, at room.Kind, shadow bool) (out []level) {
	var demand []room.Level
	for i, w := range said {
		if w.Shadow != shadow {
			continue
		}
		if len(out) == 0 || out[len(out)-1].Level != w.Level {
			demand = append(demand, w.Level)
			out = append(out, level{Level: w.Level, policy: w.Policy, key: room.ClaimsFor(w.Level, demand)})
		}
		l := &out[len(out)-1]
		for j, p := range w.Says.Providers {
			if slices.ContainsFunc(l.of, func(o provider) bool { return o.Issuer == p.Issuer }) {
				continue
			}
			again := at == room.Gateway && w.Level <= room.AtNamespace
			one := provider{JWTProvider: p, name: w.Policy + "/" + p.Name, strip: p.Forward != nil && !*p.Forward && !again}
			if j < len(found[i]) && found[i][j].Problem == "" {
				one.keys, _ = KeySet(found[i][j].Text)
			}
			l.of = append(l.of, one)
		}
	}
	return out
}

// able are the providers that have keys.
func (l level) able() []provider {
	return slices.DeleteFunc(slices.Clone(l.of), func(p provider) bool { return p.keys == "" })
}

// clash finds a provider of two policies whose word of an issuer is not the same.
func clash(older, newer *v1alpha1.JWT) string {
	for i, p := range newer.Providers {
		for _, o := range older.Providers {
			o.Name = p.Name
			if o.Issuer == p.Issuer && !reflect.DeepEqual(o, p) {
				return fmt.Sprintf(".providers[%d].issuer", i)
			}
		}
	}
	return ""
}

// verify demands a token of each level, but of those that are tried: what they accept is verified, and nothing refused.
// It is one filter, for another one would remove the headers that this one fills. nil: nothing is to be verified.
func verify(levels, tried []level) *jwtv3.JwtAuthentication {
	out := &jwtv3.JwtAuthentication{Providers: map[string]*jwtv3.JwtProvider{}}
	var all []*jwtv3.JwtRequirement
	for _, l := range levels {
		all = append(all, oneOf(l.ways(out)))
	}
	for _, l := range tried {
		if ways := l.ways(out); len(ways) > 0 {
			all = append(all, oneOf(append(ways, orNone())))
		}
	}
	if len(all) == 0 {
		return nil
	}
	out.Rules = always(allOf(all))
	return out
}

// ways are the providers of a level, which a filter gets, each as a requirement.
func (l level) ways(f *jwtv3.JwtAuthentication) (out []*jwtv3.JwtRequirement) {
	for _, p := range l.able() {
		name := l.key + " " + p.name
		f.Providers[name] = p.verified(l.key)
		out = append(out, &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_ProviderName{ProviderName: name}})
	}
	return out
}

func always(requires *jwtv3.JwtRequirement) []*jwtv3.RequirementRule {
	return []*jwtv3.RequirementRule{{
		Match:           &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		RequirementType: &jwtv3.RequirementRule_Requires{Requires: requires},
	}}
}

// oneOf and allOf are themselves for one requirement: Envoy takes lists of two or more.
func oneOf(any []*jwtv3.JwtRequirement) *jwtv3.JwtRequirement {
	if len(any) == 1 {
		return any[0]
	}
	return &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_RequiresAny{RequiresAny: &jwtv3.JwtRequirementOrList{Requirements: any}}}
}

func allOf(all []*jwtv3.JwtRequirement) *jwtv3.JwtRequirement {
	if len(all) == 1 {
		return all[0]
	}
	return &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_RequiresAll{RequiresAll: &jwtv3.JwtRequirementAndList{Requirements: all}}}
}

// claimHeaders are those that nobody but a provider may fill, whichever provides this time.
func claimHeaders(levels []level) (out []string) {
	for _, l := range levels {
		for _, p := range l.of {
			for _, c := range p.ClaimHeaders {
				out = append(out, strings.ToLower(c.Header))
			}
		}
	}
	return sorted(out)
}

// spent are the headers and the parameters of the query whose token goes no further.
func spent(levels []level) (headers, params []string) {
	for _, l := range levels {
		for _, p := range l.of {
			for _, place := range places(p.JWTProvider) {
				switch {
				case !p.strip:
				case place.Header != nil:
					headers = append(headers, strings.ToLower(place.Header.Name))
				case place.QueryParam != "":
					params = append(params, place.QueryParam)
				}
			}
		}
	}
	return sorted(headers), sorted(params)
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
