package mesh

import (
	"strings"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	"github.com/weft-mesh/weft/internal/incr"
	"github.com/weft-mesh/weft/internal/smi"
)

// The filters that decide who may reach an app: of requests, of bytes to ports that are declared to carry
// them, and of bytes to all others. Every sidecar has them, and sees of each a variant of its ServiceAccount's
// own if that is guarded.
const (
	accessPrefix     = "access/"
	AccessRequests   = accessPrefix + "requests"
	AccessBytes      = accessPrefix + "bytes"
	AccessUndeclared = accessPrefix + "undeclared"
)

var accessFilters = []string{AccessRequests, AccessBytes, AccessUndeclared}

// IsAccess says whether an Extension is one of these filters.
func IsAccess(name string) bool { return strings.HasPrefix(name, accessPrefix) }

// Access is who may reach the pods of a ServiceAccount.
type Access struct {
	Name        string // one of the three
	Guarded     bool   // false: all callers, as far as other policies let them
	TrustDomain string
	Allows      []smi.Allow
	Ruled       []RuledPorts // of connections: what else lets them in; those to no port of these as they are
	Tried       []TriedPorts // what policies in Shadow would refuse beside
	Policies    []string     // the keys of the MeshPolicies by which they are ruled, or tried
}

// accesses is what is remembered of TrafficTargets: which are about a ServiceAccount, what each comes to, and
// which scopes it reaches, by pairs; and of the pods, which scopes a ServiceAccount has, and what ports.
type accesses struct {
	targetsOf     *incr.Index[string, string]
	namedBy       *incr.Index[string, string] // by kind and key of what they name
	targets       *incr.Memo[string, smi.Target]
	TargetReaches *incr.View[string, string]
	scopesOf      *incr.View[string, string]
	ownPorts      *incr.Memo[string, containerPorts]
}

func (m *Mesh) layAccess() accesses {
	return accesses{
		targetsOf: incr.NewIndex(m.TrafficTargets, func(_ string, t *access.TrafficTarget) []string {
			if account := smi.Destination(t); account != "" {
				return []string{account}
			}
			return nil
		}),
		namedBy:       incr.NewIndex(m.TrafficTargets, func(_ string, t *access.TrafficTarget) []string { return namedIn(t) }),
		targets:       incr.NewMemo(m.Graph, "trafficTarget", same[smi.Target], m.target),
		TargetReaches: incr.NewView[string](m.PodsIn, "targetReaches", m.targetReaches),
		scopesOf:      incr.NewView[string](m.PodsIn, "scopesOf", accountOf),
		ownPorts:      incr.NewMemo(m.Graph, "ownPorts", same[containerPorts], m.containerPorts),
	}
}

// target translates a TrafficTarget.
func (m *Mesh) target(q *incr.Query, k string) smi.Target {
	t, ok := m.TrafficTargets.Get(q, k)
	if !ok {
		return smi.Target{}
	}
	return smi.Access(t, smi.Specs{
		Namesake: func(kind, name string) bool { return m.namesake(q, kind, key(t.Namespace, name)) },
		HTTPRouteGroup: func(name string) (*specs.HTTPRouteGroup, bool) {
			return m.HTTPRouteGroups.Get(q, key(t.Namespace, name))
		},
		TCPRoute: func(name string) (*specs.TCPRoute, bool) { return m.SMITCPRoutes.Get(q, key(t.Namespace, name)) },
		Regex:    CheckRegex,
		Header:   ValidHeaderName,
	})
}

// namesake says whether Gateway API's kind of a name that SMI has too has an object.
func (m *Mesh) namesake(q *incr.Query, kind, k string) bool {
	if kind != TCPRoute {
		return false
	}
	_, is := m.TCPRoutes.Get(q, k)
	return is
}

// Access is one of the filters, as the pods of a ServiceAccount have it, or those of a scope; of "" those of all that
// no TrafficTarget and no policy is about.
func (m *Mesh) Access(q *incr.Query, name, variant string) Access {
	out := Access{Name: name, TrustDomain: m.trustDomain(q)}
	account := variant
	if strings.HasPrefix(variant, scopePrefix) {
		account = accountOf(q, variant)[0]
		in := m.inbounds.Get(q, variant)
		out.Ruled, out.Policies = m.ruledPorts(q, in, name)
		tried, by := m.triedPorts(q, in, name)
		out.Tried, out.Policies = tried, sortedOnce(append(out.Policies, by...))
	}
	if account == "" || !m.guarded(q, account) {
		return out
	}
	out.Guarded = true
	if name == AccessRequests || !m.crowded(q, account) {
		out.Allows = m.waysIn(q, account)
	}
	return out
}

// waysIn are all ways in to the pods of a ServiceAccount.
func (m *Mesh) waysIn(q *incr.Query, account string) (out []smi.Allow) {
	for _, k := range m.targetsOf.Get(q, account) {
		out = append(out, m.targets.Get(q, k).Allows...)
	}
	return out
}

// Of connections, one expression says who may make them, which a proxy reads only if it is no longer than
// 100,000 characters and not too deep.
const (
	maxByteRules = 100
	maxByteText  = 90_000
)

// crowded says whether more may send bytes to the pods of a ServiceAccount than can be told: then nobody may.
func (m *Mesh) crowded(q *incr.Query, account string) bool {
	rules, text := 0, 0
	for _, a := range m.waysIn(q, account) {
		if a.Traffic == smi.Requests {
			continue
		}
		rules, text = rules+1, text+len(a.Name)+len("filter_state[''] in [] && destination.port in [] ? destination.address : ")+20+len("12345, ")*len(a.Ports)
		for _, source := range a.Sources {
			text += len("b'', ") + len(SPIFFEID(m.trustDomain(q), source, ""))
		}
	}
	return rules > maxByteRules || text > maxByteText
}

// guarded says whether the pods of a ServiceAccount take only what is allowed.
func (m *Mesh) guarded(q *incr.Query, account string) bool {
	return len(m.targetsOf.Get(q, account)) > 0
}

// accessWants are what the sidecars of a scope see in place of what all see.
func (m *Mesh) accessWants(q *incr.Query, scope string, in Inbound) (out []string) {
	for _, name := range accessFilters {
		if variant := m.accessVariant(q, scope, in, name); variant != "" {
			out = append(out, Want{scope, KindExtension, name, variant}.Key())
		}
	}
	return out
}

// accessVariant is which of the filters of a name the sidecars of a scope see.
func (m *Mesh) accessVariant(q *incr.Query, scope string, in Inbound, name string) string {
	account := key(in.Namespace, in.ServiceAccount)
	switch {
	case len(in.ruled(name)) > 0 || in.Ruled && name == AccessUndeclared, in.triesBytes(name):
		return scope
	case m.guarded(q, account):
		return account
	}
	return ""
}

// ofTarget is what a TrafficTarget is counted by, beside MeshPolicies.
const ofTarget = "TrafficTarget "

// targetReaches are the pairs of a scope with the TrafficTargets about its pods.
func (m *Mesh) targetReaches(q *incr.Query, scope string) (out []string) {
	in := m.inbounds.Get(q, scope)
	if in.Namespace == "" {
		return nil
	}
	for _, k := range m.targetsOf.Get(q, key(in.Namespace, in.ServiceAccount)) {
		out = append(out, reachKey(ofTarget+k, scope))
	}
	return out
}

// accountOf is the ServiceAccount that the pods of a scope run as.
func accountOf(_ *incr.Query, scope string) []string {
	account := strings.TrimPrefix(scope, scopePrefix)
	return []string{account[:strings.LastIndex(account, "/")]}
}

// TargetCarriers are the resources that carry a TrafficTarget to the proxies of a scope, by their key in
// TargetReaches.
func (m *Mesh) TargetCarriers(q *incr.Query, k string) (out []Want) {
	_, scope := ParseReach(k)
	in := m.inbounds.Get(q, scope)
	for _, name := range accessFilters {
		out = append(out, Want{scope, KindExtension, name, m.accessVariant(q, scope, in, name)})
	}
	return out
}

// TargetKey is what a TrafficTarget is counted by, by its own key.
func TargetKey(k string) string { return ofTarget + k }

// TargetGeneration is that of a TrafficTarget, by its key.
func (m *Mesh) TargetGeneration(q *incr.Query, k string) int64 {
	if t, ok := m.TrafficTargets.Get(q, k); ok {
		return t.Generation
	}
	return 0
}
