package mesh

import (
	"slices"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/jwt"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Sections go by claims of tokens that policies demand of the same requests. Those that say what becomes of a request
// once its Route is known find, at a Gateway, what guards it has verified. Those that say which Route it is need that
// before; and so does whatever a caller's sidecar does, which demands nothing: the pod that is called does.

// Tokens are what a section demands of requests at one level.
type Tokens struct {
	Key string // of the claims, once they are verified
	By  []room.Decided
}

// claiming tells what policies say of a rule by which claims it goes.
func (m *Mesh) claiming(q *incr.Query, r *Rule, about []selected, at room.Kind) {
	for i := range r.Policies {
		d := &r.Policies[i]
		section, own, does := byClaims(*d, about)
		if !does {
			continue
		}
		demand := m.tokens(q, about, at)
		l, is := room.ClaimsLevel(own, levelsOf(demand))
		switch {
		case !is:
		case at == room.Gateway && section.Match == nil:
			d.Claims = room.ClaimsFor(own, levelsOf(demand))
		default:
			of := slices.DeleteFunc(demand, func(d room.Decided) bool { return d.Level != l })
			d.Claims = room.RoutingClaims(policyKeys(of))
			r.Tokens = append(r.Tokens, Tokens{d.Claims, of})
		}
	}
}

// byClaims says whether what was decided goes by claims that it must be told of, and at which level.
func byClaims(d room.Decided, about []selected) (r room.Room, own room.Level, does bool) {
	r, ok := policy.ByName(d.Section)
	if !ok || d.Ended || r.Shared != nil {
		return r, 0, false
	}
	for _, p := range about { // from the outer levels to the inner ones, of which the innermost holds
		if p.key() == d.Policy && r.Claims(&p.Spec) != "" {
			own, does = p.Level, true
		}
	}
	return r, own, does
}

// tokens are what is demanded of requests where they come in, level by level. What a route's policies demand is
// demanded at Gateways only.
func (m *Mesh) tokens(q *incr.Query, about []selected, at room.Kind) []room.Decided {
	if at == room.Service {
		about = slices.DeleteFunc(slices.Clone(about), func(p selected) bool { return ofRoutes(p.on) })
	}
	r, _ := policy.ByName(jwt.Section.Name)
	out := m.guardingBy(q, r, about, at, room.Destination{})
	withClaims(out)
	return out
}

// withClaims tells those who guard requests by claims which ones these are.
func withClaims(said []room.Decided) {
	demand, tried := demanding(said, false), demanding(said, true)
	for i := range said {
		d := &said[i]
		if d.Shadow {
			d.Claims = claimsTried(d.Level, demand, tried)
		} else {
			d.Claims = room.ClaimsFor(d.Level, demand)
		}
	}
}

// demanding are the levels that demand a token, each once, from outside in.
func demanding(said []room.Decided, shadow bool) (out []room.Level) {
	for _, d := range said {
		if d.Section == jwt.Section.Name && d.Shadow == shadow && !slices.Contains(out, d.Level) {
			out = append(out, d.Level)
		}
	}
	return out
}

// claimsTried is the key of the claims that a policy in Shadow goes by: those that it would have if all in Shadow were
// enforced beside the rest.
func claimsTried(own room.Level, demand, tried []room.Level) string {
	all := slices.Concat(demand, tried)
	slices.Sort(all)
	l, is := room.ClaimsLevel(own, slices.Compact(all))
	switch {
	case !is:
		return ""
	case slices.Contains(demand, l):
		return room.ClaimsFor(l, demand)
	}
	return room.ShadowClaims(l)
}

// levelsOf are the levels of what was decided, each once.
func levelsOf(said []room.Decided) (out []room.Level) {
	for _, d := range said {
		out = append(out, d.Level)
	}
	return slices.Compact(out)
}

// unclaimed says of sections of a policy that go by claims why there are none of the requests to a subject: nobody
// demands a token, or it is demanded elsewhere than where the section is heeded.
func (m *Mesh) unclaimed(q *incr.Query, p *v1alpha1.MeshPolicy, s subject) (out []Verdict) {
	for _, r := range policy.All {
		field := r.Claims(&p.Spec)
		switch {
		case field == "":
		case r.Shared == nil:
			out = append(out, m.unverified(q, s, "spec."+r.Name+field)...)
		case s.Kind == room.Service || ofRoutes(s) && !m.mayComeByGateway(q, s):
			out = append(out, wrong(reasonUnsupportedProtocol, "%s: spec.%s%s goes by claims, which are known at Gateways; of what pods send to %s there are none, for the pod that is called verifies tokens: name a Gateway or a route that is attached to one", s.Field, r.Name, field, s))
		case !m.claimed(q, s):
			out = append(out, wrong(reasonUnsupportedProtocol, "%s: spec.%s%s goes by claims, and no policy demands a token of the requests to %s: write one with spec.jwt about it", s.Field, r.Name, field, s))
		}
	}
	return out
}

// unverified says by which entrances there are no claims of the requests to a subject that its own policies may go by.
func (m *Mesh) unverified(q *incr.Query, s subject, field string) (out []Verdict) {
	none := func(of []selected, at room.Kind) bool {
		_, is := room.ClaimsLevel(s.level(), levelsOf(m.tokens(q, of, at)))
		return !is
	}
	if s.Kind == room.Mesh || s.Kind == room.Namespace {
		groups := []string{meshGroup, s.group()}
		if none(m.about(q, slices.Compact(groups), func(subject) bool { return true }), room.Gateway) {
			out = append(out, wrong(reasonUnsupportedProtocol, "%s goes by claims, and no policy about %s, or one about the mesh, demands a token, so that it touches nothing: write one with spec.jwt", field, s))
		}
		return out
	}
	of := Origin{Kind: string(s.Kind), Namespace: s.Namespace, Name: s.Name, RuleName: s.Part}
	for _, e := range m.entrancesOf(q, s) {
		if !none(m.aboutRule(q, e, of), e.kind) {
			continue
		}
		out = append(out, wrong(reasonUnsupportedProtocol, "%s: %s goes by claims, and no policy demands a token of what comes by %s, so that nothing of it has claims: write one with spec.jwt about %s", s.Field, field, e, remedy(e, s)))
	}
	return out
}

// remedy is what a policy can be about that demands the tokens that one about a subject goes by.
func remedy(e entrance, s subject) string {
	switch {
	case e.kind == room.Service:
		return "that Service"
	case ofRoutes(s):
		return "that Gateway, or the route"
	}
	return "that Gateway"
}

// entrancesOf are those by which requests come to a subject that is an object.
func (m *Mesh) entrancesOf(q *incr.Query, s subject) (out []entrance) {
	k := key(s.Namespace, s.Name)
	switch s.Kind {
	case room.Gateway:
		return []entrance{{kind: room.Gateway, key: k, listener: s.Part}}
	case room.Service:
		svc, ok := m.Services.Get(q, k)
		if !ok {
			return nil
		}
		for _, p := range svc.Spec.Ports {
			if routable(p) && (!s.part() || s.names(p)) {
				out = append(out, entrance{kind: room.Service, key: k, port: p})
			}
		}
		return out
	}
	for _, a := range m.attached.Get(q, routeKey(string(s.Kind), k)) {
		out = append(out, m.entrances(q, a)...)
	}
	return out
}

// claimed says whether a token is demanded of all requests that come to a subject by Gateways. Of a namespace and
// the mesh that is not asked: what is demanded differs there.
func (m *Mesh) claimed(q *incr.Query, s subject) bool {
	if s.Kind != room.Gateway && !ofRoutes(s) {
		return true
	}
	of := Origin{Kind: string(s.Kind), Namespace: s.Namespace, Name: s.Name, RuleName: s.Part}
	return !slices.ContainsFunc(m.entrancesOf(q, s), func(e entrance) bool {
		return e.kind == room.Gateway && len(m.tokens(q, m.aboutRule(q, e, of), e.kind)) == 0
	})
}
