package why

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/authorization"
)

// Recorded explains a decision that was made, by what policies said then: said has it by digest. Whether the call was
// let in is what the proxy did.
func Recorded(r authz.Record, said map[string]*v1alpha1.Authorization) (Explanation, error) {
	e := explaining{request: r.Input.Request, gateway: r.Law != nil && r.Law.Gateway}
	e.recorded(r)
	if r.Law != nil {
		if err := e.by(r, said); err != nil {
			return Explanation{}, err
		}
	}
	e.conclude()
	allowed := r.Verdict == authz.Allowed
	if evaluated := len(e.out.Checks) > 0; evaluated && allowed != e.out.Allowed && len(r.Cut) == 0 {
		e.note("by what is recorded it should have been %s: some part of the request was read otherwise by the proxy", map[bool]string{true: "let in", false: "denied"}[e.out.Allowed])
	}
	if e.out.Allowed, e.out.Status = allowed, 0; !allowed {
		e.out.Status = r.Status
	}
	return e.out, nil
}

// recorded is what is known without policies.
func (e *explaining) recorded(r authz.Record) {
	e.out.Source, e.out.Port = r.Caller(), r.Input.Destination.Port
	e.out.Destination, e.out.Pods = "pods of ServiceAccount "+r.Proxy.Workload(), []string{r.Proxy.Namespace + "/" + r.Proxy.Pod}
	if e.gateway {
		e.out.Destination = "proxies of a Gateway, of ServiceAccount " + r.Proxy.Workload()
	}
	e.out.Call = Call{Input: r.Input, Tokens: r.Tokens}
	if r.Input.Request != nil {
		e.out.Asks = r.Input.Request.Method + " " + r.Input.Request.Path
	}
	e.note("request %s, at %s. The proxy says: %d, %s", r.ID, r.Time.Format(time.RFC3339Nano), r.Status, r.Details)
	if r.Route != "" && e.gateway {
		e.note("it took the route %s", r.Route)
	}
	if len(r.Cut) > 0 {
		e.note("not recorded, for their length or as they may let somebody in: %s. Rules find them absent here", strings.Join(r.Cut, ", "))
	}
	if r.Verdict == authz.Denied && (r.Law == nil || r.Section != authorization.Section.Name) {
		what := "it was denied before policies with authorization were asked"
		if r.Section == "" {
			what = "the proxy denied it for a reason that no policy with authorization is"
		}
		e.check(Check{Name: orUnknown(r.Section), Status: r.Status, Why: what + ": " + r.Details})
	}
}

func orUnknown(section string) string {
	if section == "" {
		return "proxy"
	}
	return section
}

// by explains it by policies: those that were enforced, and beside them those in Shadow.
func (e *explaining) by(r authz.Record, said map[string]*v1alpha1.Authorization) error {
	if missing := missing(*r.Law, said); len(missing) > 0 {
		e.note("what these said then is not known any more, or not what was in the ConfigMaps that they read, so that they are not evaluated: MeshPolicies %s", strings.Join(missing, ", "))
		return nil
	}
	if r.Rule == opa.Ambiguous || r.Rule == opa.Repeated {
		e.check(Check{Name: "shape", Status: http.StatusForbidden, Rule: r.Rule, Why: "an app may read it otherwise than the proxy: see docs/authorization.md, what a request must look like"})
	}
	if err := e.ruled(LevelsOf(r, said, false)); err != nil {
		return err
	}
	if r.Shadow == nil || r.Shadow.Result != authz.Denied {
		return nil
	}
	e.note("MeshPolicy %s, in Shadow, would have denied it: %s, %s", r.Shadow.Policy, r.Shadow.Section, r.Shadow.Rule)
	tried := explaining{request: e.request, gateway: e.gateway}
	tried.out.Call = e.out.Call
	if err := tried.ruled(LevelsOf(r, said, true)); err != nil {
		return err
	}
	for _, c := range tried.out.Checks {
		c.Shadow = true
		e.check(c)
	}
	return nil
}

// ruled has policies judge.
func (e *explaining) ruled(levels []Level) error {
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

// missing are the keys of the policies of which it is not known what they said.
func missing(l authz.Law, said map[string]*v1alpha1.Authorization) (out []string) {
	for _, level := range l.Levels {
		for _, p := range level.Policies {
			if !wholly(said, p.Digest) {
				out = append(out, fmt.Sprintf("%s (%s)", p.Key, p.Digest))
			}
		}
	}
	return out
}

// wholly says whether all is known of what a policy said.
func wholly(said map[string]*v1alpha1.Authorization, digest string) bool {
	says := said[digest]
	return says != nil && !opa.ReadsConfigMaps(says)
}

// LevelsOf are the levels of a record's law, each with the policies that were enforced, or those in Shadow. A level
// without any is none.
func LevelsOf(r authz.Record, said map[string]*v1alpha1.Authorization, shadow bool) (out []Level) {
	for _, level := range r.Law.Levels {
		one := Level{Name: levelText(level.Name, r.Law.Gateway), Claims: level.Claims, Unenforced: map[string]string{}}
		for _, p := range level.Policies {
			if says := said[p.Digest]; says != nil && p.Shadow == shadow {
				one.take(opa.Policy{Key: p.Key, Authorization: says, TrustDomain: r.Law.TrustDomain, GatewayAccount: r.Law.GatewayAccount}, r)
			}
		}
		if len(one.Policies) > 0 {
			out = append(out, one)
		}
	}
	return out
}

// take adds a policy, and notes of which of its rules a part is decided by nothing that a proxy has.
func (l *Level) take(p opa.Policy, of authz.Record) {
	l.Policies = append(l.Policies, p)
	to := of.Input.Destination
	rules, _ := opa.Compile(p).For(opa.Destination{Gateway: of.Law.Gateway, Namespace: to.Namespace, ServiceAccount: to.ServiceAccount, Labels: to.Labels})
	for _, r := range rules {
		if by, why := r.By(); by == opa.OPA && !r.Asked() {
			l.Unenforced[r.Name] = why
		}
	}
}

// levelText is how people call a level that a law names.
func levelText(name string, gateway bool) string {
	at := map[string]string{"serviceaccount": "ServiceAccount", "service": "Service"}
	if gateway {
		at = map[string]string{"service": "Gateway", "port": "listener"}
	}
	if text, is := at[name]; is {
		return text
	}
	return name
}

// Judged says whether a recorded call is one that policies let in, given what all of its digests stand for; false if
// that of some is not known.
func Judged(r authz.Record, said map[string]*v1alpha1.Authorization) (allowed, known bool, err error) {
	if r.Law == nil || len(r.Cut) > 0 || slices.ContainsFunc(r.Law.Digests(), func(d string) bool { return !wholly(said, d) }) {
		return false, false, nil
	}
	ruling, err := NewCourt(LevelsOf(r, said, false)).Judge(Call{Input: r.Input, Tokens: r.Tokens})
	return ruling.Allowed, err == nil, err
}
