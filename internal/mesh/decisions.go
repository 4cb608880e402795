package mesh

import (
	"slices"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Where the Mesh wants to know what proxies decide, each has, beside its guards, by which law these are made; and tells it
// with what they decided to weft authz:
//
//	guards of a port, or of a rule → authz.Law → a filter before them ─→ access log → the Cluster Authz
//
// Elsewhere nothing of that is in any resource.

// Authz is the name of the Cluster that weft authz is told through. Its variants are those of the quota service's.
const Authz = "weft-authz"

// The Service of weft authz, and its ports: where it hears, and where it is asked.
const (
	AuthzService = "weft-authz"
	AuthzPort    = "grpc-als"
	CheckPort    = "grpc-check"
)

// decisions says which are told of; "": none.
func (m *Mesh) decisions(q *incr.Query) v1alpha1.DecisionMode {
	if settings, ok := m.Meshes.Get(q, v1alpha1.MeshName); ok && settings.Spec.DecisionLog.Told() {
		return settings.Spec.DecisionLog.Decisions
	}
	return ""
}

// lawOf is by what those decide that guard whom is called; nil: nobody is told.
func (m *Mesh) lawOf(q *incr.Query, said []room.Decided, called room.Destination) *authz.Law {
	if len(said) == 0 || m.decisions(q) == "" {
		return nil
	}
	law := &authz.Law{TrustDomain: m.trustDomain(q), Gateway: called.Gateway}
	var all []*v1alpha1.Authorization
	var names opa.Names
	for _, d := range said {
		says, is := d.Says.(*v1alpha1.Authorization)
		if !is {
			continue
		}
		all = append(all, says)
		at := slices.IndexFunc(law.Levels, func(l authz.Level) bool { return l.Name == d.Level.Name() && l.Claims == d.Claims })
		if at < 0 {
			at, law.Levels = len(law.Levels), append(law.Levels, authz.Level{Name: d.Level.Name(), Claims: d.Claims})
		}
		l := &law.Levels[at]
		l.Policies = append(l.Policies, authz.Policy{Key: d.Policy, Digest: authz.Digest(says), Shadow: d.Shadow})
		if says.Rego != nil {
			names = names.With(m.modules.Get(q, moduleKey(d.Policy, *says.Rego)).names)
		}
	}
	names = names.With(opa.NamesIn(all...))
	law.Claims, law.Headers, law.Accounts = names.Claims, names.Headers, m.accountsIn(q, all)
	for _, name := range names.Labels {
		if value, is := called.Labels[name]; is {
			if law.Labels == nil {
				law.Labels = map[string]string{}
			}
			law.Labels[name] = value
		}
	}
	return law
}

// accountsIn are those of the Gateways that policies name.
func (m *Mesh) accountsIn(q *incr.Query, all []*v1alpha1.Authorization) map[string]string {
	account, out := m.surroundings(q, "").GatewayAccount, map[string]string{}
	for _, a := range all {
		var from []v1alpha1.AuthorizationSource
		for _, r := range a.Rules {
			from = append(from, r.From...)
		}
		for _, r := range a.Roles {
			from = append(from, r.HeldBy...)
		}
		for _, s := range from {
			if s.Gateway != nil {
				out[key(s.Gateway.Namespace, s.Gateway.Name)] = account(s.Gateway.Namespace, s.Gateway.Name)
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// decisionWants are what a proxy needs to tell of what it decides.
func (m *Mesh) decisionWants(q *incr.Query, scope, kind string) []string {
	if m.decisions(q) == "" {
		return nil
	}
	return []string{Want{scope, KindCluster, Authz, kind}.Key()}
}

// AuthzAt is where weft authz hears: of its pods that are ready, the one that is there longest, so that all of a
// request's way is in one place.
func (m *Mesh) AuthzAt(q *incr.Query) Endpoint { return m.longestThere(q, AuthzService, AuthzPort) }
