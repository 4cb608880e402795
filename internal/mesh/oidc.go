package mesh

import (
	"slices"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/policy"
	"github.com/weft-mesh/weft/internal/policy/oidc"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// LoginCluster is the way to the token endpoint of a policy with the section oidc.
type LoginCluster struct {
	Name, Policy string
	oidc.Token
	Authorities []byte // in PEM: who may vouch for the host; none: those that are publicly trusted
}

// sealed is one key of a Secret that proxies are given by SDS.
func (m *Mesh) sealed(q *incr.Query, p *v1alpha1.MeshPolicy, ref room.Sealed, field string) (text []byte, bad Verdict) {
	k, make := key(p.Namespace, ref.Name), "create it, or name another"
	if ref.Own != nil {
		k, make = key(v1alpha1.SystemNamespace, ref.Own(key(p.Namespace, p.Name))), "the operator is about to make it"
	}
	s, ok := m.Secrets.Get(q, k)
	if !ok || s.Type != ref.Type {
		return nil, wrong(reasonSecretNotFound, "%s: there is no Secret %s of type %q: %s", field, k, ref.Type, make)
	}
	text, ok = s.Data[ref.Key]
	if !ok {
		return nil, wrong(reasonSecretNotFound, "%s: Secret %s has no data[%q]: add it, or name another", field, k, ref.Key)
	}
	if problem := ref.Check(text); problem != "" {
		return nil, wrong(gwv1.PolicyReasonInvalid, "%s: data[%q] of Secret %s %s", field, ref.Key, k, problem)
	}
	return text, Verdict{}
}

// LoginSecret is a secret of a login by its name; false: there is none.
func (m *Mesh) LoginSecret(q *incr.Query, name string) ([]byte, bool) {
	k, session := oidc.PolicyOf(name)
	p, ok := m.MeshPolicies.Get(q, k)
	if !ok || p.Spec.OIDC == nil {
		return nil, false
	}
	for _, ref := range oidc.Section.Refers(p.Spec.OIDC) {
		if ref.Sealed != nil && session == (ref.Sealed.Own != nil) {
			text, bad := m.sealed(q, p, *ref.Sealed, "")
			return text, bad.OK()
		}
	}
	return nil, false
}

// LoginCluster is that of a name; false while it is not known where the endpoint is, or whom to trust.
func (m *Mesh) LoginCluster(q *incr.Query, name string) (out LoginCluster, ok bool) {
	out.Name = name
	out.Policy, _ = oidc.PolicyOf(name)
	p, ok := m.MeshPolicies.Get(q, out.Policy)
	if !ok || p.Spec.OIDC == nil {
		return out, false
	}
	r, _ := policy.ByName(oidc.Section.Name)
	refs, found := r.Refers(&p.Spec), m.referentsOf(q, r, out.Policy, room.Gateway)
	for i, f := range found {
		switch {
		case refs[i].Sealed != nil:
		case f.Problem != "":
			return out, false
		case refs[i].ConfigMap != "":
			certificates, _ := room.Authorities([]byte(f.Text)) // which were checked
			out.Authorities = append(out.Authorities, certificates...)
		default:
			endpoints, known := oidc.ParseEndpoints(f.Text)
			if out.Token, ok = oidc.ParseToken(endpoints.Token); !known || !ok {
				return out, false
			}
		}
	}
	return out, true
}

// loginWants are what a Gateway's proxies need for the logins that rules demand.
func loginWants(scope string, rules []Rule) (out []string) {
	var seen []string
	for _, r := range rules {
		for _, d := range r.Guards {
			if d.Section != oidc.Section.Name || slices.Contains(seen, d.Policy) {
				continue
			}
			seen = append(seen, d.Policy)
			out = append(out, want(scope, KindCluster, oidc.Cluster(d.Policy)))
			for _, name := range oidc.Secrets(d.Policy) {
				out = append(out, want(scope, KindSecret, name))
			}
		}
	}
	return out
}

// torn says that a policy's login cannot be told apart from one of an outer level, which is demanded too, so that
// nobody gets past the two.
func (m *Mesh) torn(q *incr.Query, p *v1alpha1.MeshPolicy, s subject) (out []Verdict) {
	if p.Spec.OIDC == nil {
		return nil
	}
	var entrances []entrance
	if s.Kind == room.Gateway {
		entrances = append(entrances, entrance{kind: room.Gateway, key: key(s.Namespace, s.Name), listener: s.Part})
	} else {
		for _, a := range m.attached.Get(q, routeKey(string(s.Kind), key(s.Namespace, s.Name))) {
			entrances = append(entrances, m.entrances(q, a)...)
		}
	}
	r, _ := policy.ByName(oidc.Section.Name)
	var told []string
	for _, e := range entrances {
		if e.kind != room.Gateway {
			continue
		}
		for _, o := range m.aboutRule(q, e, Origin{Kind: string(s.Kind), Namespace: s.Namespace, Name: s.Name, RuleName: s.Part}) {
			if o.Level >= s.level() || slices.Contains(told, o.key()) || !m.heldIn(q, o, r) {
				continue
			}
			if field := oidc.Overlap(o.Spec.OIDC, p.Spec.OIDC); field != "" {
				told = append(told, o.key())
				out = append(out, wrong(gwv1.PolicyReasonConflicted, "%s: spec.oidc%s is what MeshPolicy %s, about %s, has too, and both logins are demanded: all requests are answered 503 until it is another one", s.Field, field, o.key(), o.on))
			}
		}
	}
	return out
}
