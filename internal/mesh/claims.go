package mesh

import (
	"slices"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/jwt"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// unclaimed says of sections of a policy that go by claims why there are none of the requests to a subject: nobody
// demands a token, or it is demanded elsewhere than where the section is heeded.
func (m *Mesh) unclaimed(q *incr.Query, p *v1alpha1.MeshPolicy, s subject) (out []Verdict) {
	for _, r := range policy.All {
		field := r.Claims(&p.Spec)
		switch {
		case field == "":
		case s.Kind == room.Service || ofRoutes(s) && !m.mayComeByGateway(q, s):
			out = append(out, wrong(reasonUnsupportedProtocol, "%s: spec.%s%s goes by claims, which are known at Gateways; of what pods send to %s there are none, for the pod that is called verifies tokens: name a Gateway or a route that is attached to one", s.Field, r.Name, field, s))
		case !m.claimed(q, s):
			out = append(out, wrong(reasonUnsupportedProtocol, "%s: spec.%s%s goes by claims, and no policy demands a token of the requests to %s: write one with spec.jwt about it", s.Field, r.Name, field, s))
		}
	}
	return out
}

// claimed says whether a token is demanded of all requests that come to a subject by Gateways. Of a namespace and
// the mesh that is not asked: what is demanded differs there.
func (m *Mesh) claimed(q *incr.Query, s subject) bool {
	switch {
	case s.Kind == room.Gateway:
		e := entrance{kind: room.Gateway, key: key(s.Namespace, s.Name), listener: s.Part}
		return m.tokenDemanded(q, m.about(q, outsideIn(e), e.takes))
	case !ofRoutes(s):
		return true
	}
	of := Origin{Kind: string(s.Kind), Namespace: s.Namespace, Name: s.Name, RuleName: s.Part}
	for _, a := range m.attached.Get(q, routeKey(of.Kind, key(of.Namespace, of.Name))) {
		for _, e := range m.entrances(q, a) {
			if e.kind == room.Gateway && !m.tokenDemanded(q, m.aboutRule(q, e, of)) {
				return false
			}
		}
	}
	return true
}

func (m *Mesh) tokenDemanded(q *incr.Query, found []selected) bool {
	section, _ := policy.ByName(jwt.Section.Name)
	return slices.ContainsFunc(found, func(p selected) bool { return m.heldIn(q, p, section) })
}
