package why

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/jwt"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// mtls is whether the connection is let in at all.
func (e *explaining) mtls() {
	c := Check{Name: "mtls", Passed: true}
	by := "by default"
	if e.called.MTLSBy != "" {
		c.Policies, by = []string{e.called.MTLSBy}, "by MeshPolicy "+e.called.MTLSBy
	}
	domain := e.mesh.Surroundings("").TrustDomain
	switch {
	case e.from.Principal != "" && e.from.TrustDomain != domain:
		c.Passed, c.Why = false, fmt.Sprintf("the certificate is of trust domain %s, and the mesh takes none but those of its own, %s", e.from.TrustDomain, domain)
	case e.from.Principal != "":
		c.Why = "the caller proves to be " + e.from.Principal
	case e.called.MTLS == mesh.MTLSPermissive:
		c.Why = "the port takes plaintext, " + by + ": mode Permissive. Nobody proves who calls"
	case slices.ContainsFunc(e.called.Public, func(name string) bool { return covers(name, plainHost(e.Host)) }):
		c.Why = "the port ends the TLS of clients for this host, by serverTLS. Nobody proves who calls"
	default:
		c.Passed, c.Why = false, "the port takes no plaintext, "+by+": mode Strict. Put the caller into the mesh, or write a MeshPolicy with mtls: {mode: Permissive}"
	}
	e.check(c)
}

// covers says whether a hostname is a name, or a wildcard that has it.
func covers(host, name string) bool {
	under, wild := strings.CutPrefix(host, "*")
	return host == name || wild && strings.HasSuffix(name, under) && len(name) > len(under)
}

// authorized is who may call what, by shape and by rules.
func (e *explaining) authorized(guards []room.Decided) error {
	levels, compiled := e.levels(guards)
	if len(levels) == 0 {
		return nil
	}
	if e.request == nil && e.from.Principal == "" && !e.gateway {
		e.check(Check{Name: "authorization", Policies: keysOf(levels), Why: "nobody proves who makes the connection, and where rules decide on connections without HTTP, such are not let in"})
	}
	if e.request != nil {
		if guard, why := opa.Misshapen(compiled, *e.request, e.Host); guard != "" {
			e.check(Check{Name: "shape", Status: http.StatusForbidden, Rule: guard, Policies: keysOf(levels), Why: why})
		}
	}
	ruling, err := NewCourt(levels).Judge(e.out.Call)
	if err != nil {
		return err
	}
	e.denied(ruling)
	for _, l := range ruling.Levels {
		e.check(e.ofLevel(l))
	}
	return nil
}

func (e *explaining) forbidden() int {
	if e.request == nil {
		return 0
	}
	return http.StatusForbidden
}

// denied tells of the rules that deny.
func (e *explaining) denied(r Ruling) {
	if len(r.Denials) == 0 {
		return
	}
	first := r.Denials[0]
	e.check(Check{
		Name: "authorization", Level: first.Level, Status: e.forbidden(), Rule: first.Name, Policies: []string{policyOf(first.Name)}, Misses: r.Denials,
		Why: fmt.Sprintf("rule %s of MeshPolicy %s denies it: %s", first.Short(), policyOf(first.Name), heldText(first.Finding)),
	})
}

// ofLevel is whether one level allows it.
func (e *explaining) ofLevel(l LevelRuling) Check {
	c := Check{Name: "authorization", Level: l.Level, Passed: l.Allowed, Policies: l.Policies, Rule: l.By}
	for _, b := range l.Broken {
		e.note("MeshPolicy %s. It lets nobody in", b)
	}
	if l.Allowed {
		c.Why = fmt.Sprintf("rule %s of MeshPolicy %s allows it", opa.Rule{Name: l.By}.Short(), policyOf(l.By))
		return c
	}
	c.Status, c.Misses = e.forbidden(), l.Misses
	c.Why = fmt.Sprintf("no rule of %s allows it", named(l.Policies))
	if len(l.Misses) == 0 {
		c.Why = fmt.Sprintf("%s has no rule that allows anything", named(l.Policies))
	}
	return c
}

func named(policies []string) string {
	if len(policies) == 1 {
		return "MeshPolicy " + policies[0]
	}
	return "MeshPolicies " + strings.Join(policies, ", ")
}

// policyOf is the key of the policy that a rule is of.
func policyOf(rule string) string { return strings.Join(strings.SplitN(rule, "/", 3)[:2], "/") }

// levels are those of the section authorization, each with its policies; and the same as they were compiled.
func (e *explaining) levels(guards []room.Decided) (out []Level, compiled []opa.Level) {
	at := room.Level(-1)
	for _, d := range guards {
		says, is := d.Says.(*v1alpha1.Authorization)
		if d.Section != authorization.Section.Name || !is {
			continue
		}
		if d.Level != at {
			at = d.Level
			out = append(out, Level{Name: levelName(d.Level, e.gateway), Claims: d.Claims, Unenforced: map[string]string{}})
			compiled = append(compiled, opa.Level{Claims: d.Claims})
		}
		l, c := &out[len(out)-1], &compiled[len(compiled)-1]
		in := e.mesh.Surroundings(d.Policy)
		l.Policies = append(l.Policies, opa.Policy{Key: d.Policy, Authorization: says, TrustDomain: in.TrustDomain, GatewayAccount: in.GatewayAccount, Data: in.Data, Modules: in.Modules})
		rules := authorization.Rules(d)
		c.Rules = append(c.Rules, rules...)
		e.undecided(l, rules)
	}
	return out, compiled
}

// undecided tells of rules, and of ways in which a rule holds, that no proxy decides.
func (e *explaining) undecided(l *Level, rules []opa.Rule) {
	if e.request == nil {
		return
	}
	for _, r := range rules {
		by, why := r.By()
		if by != opa.OPA || r.Asked() {
			continue
		}
		e.note("rule %s asks for what no proxy decides: %s", r.Name, why)
		if others := slices.ContainsFunc(rules, func(o opa.Rule) bool { way, _ := o.By(); return o.Name == r.Name && way != opa.OPA }); !others {
			l.Unenforced[r.Name] = why
		}
	}
}

func keysOf(levels []Level) (out []string) {
	for _, l := range levels {
		for _, p := range l.Policies {
			out = append(out, p.Key)
		}
	}
	return out
}

// enforced leaves out, and tells of, what policies in Shadow say: it refuses nothing.
func (e *explaining) enforced(guards []room.Decided) (out []room.Decided) {
	for _, d := range guards {
		if d.Shadow {
			e.note("MeshPolicy %s is in Shadow: its section %s refuses nothing, and is not asked here", d.Policy, d.Section)
			continue
		}
		out = append(out, d)
	}
	return out
}

// others tells of what is asked of the call beside, of which nothing is known here.
func (e *explaining) others(guards []room.Decided) {
	for _, d := range guards {
		if d.Section != jwt.Section.Name && d.Section != authorization.Section.Name {
			e.note("MeshPolicy %s asks for more, by its section %s: that is taken to be fulfilled", d.Policy, d.Section)
		}
	}
}

// remarks tell what is not as it is written, and of what is open.
func (e *explaining) remarks(guards []room.Decided) {
	var seen []string
	for _, d := range guards {
		p, ok := e.mesh.MeshPolicies.Get(nil, d.Policy)
		if !ok || slices.Contains(seen, d.Policy) {
			continue
		}
		seen = append(seen, d.Policy)
		for _, c := range p.Status.Conditions {
			if c.Type == "Ready" && c.Status != "True" {
				e.note("MeshPolicy %s is not Ready: %s: %s", d.Policy, c.Reason, c.Message)
			}
		}
	}
	if len(guards) > 0 || e.called.Requests.Guarded || e.gateway && !e.taken {
		return
	}
	if e.gateway {
		e.note("nothing decides here who may call: no policy with authorization or jwt is about it, which leaves a Gateway open to all that reach it")
		return
	}
	e.note("nothing decides here who may call: no policy with authorization or jwt and no TrafficTarget is about it. Such a port is open to all that mtls lets in: by default, to all in the mesh")
}
