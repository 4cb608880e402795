// Package authorization is the section authorization: who may call what.
//
//	a policy → Law (internal/opa reads it) → rules for whom is called → filters for requests
//	                                                                  └→ an expression for connections
package authorization

import (
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// Section guards requests, and connections that carry none.
var Section = room.Section[v1alpha1.Authorization]{
	Name:     section,
	Of:       func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.Authorization { return spec.Authorization },
	On:       []room.Kind{room.Mesh, room.Namespace, room.ServiceAccount, room.Pods, room.Service, room.Gateway, room.HTTPRoute, room.GRPCRoute},
	Shadow:   true,
	Traffic:  room.Traffic[v1alpha1.Authorization]{Refers: refers},
	Guarding: room.Guarding[v1alpha1.Authorization]{Guard: guard, Read: read, Connect: connect, Try: try, TryConnect: tryConnect},
}

// law is what a policy says, and of each rule that may hold for somebody how it is decided.
type law struct {
	opa.Compiled
	told     []v1alpha1.RuleStatus
	requests []string
	// tried are the problems that it has in Shadow, where OPA is not asked.
	tried []opa.Problem
	asked bool // OPA is, of some of what it may be about
}

// undecided notes that Envoy does not decide all of a rule.
func (l *law) undecided(r opa.Rule, why string) {
	p := opa.Problem{What: why, Instead: instead(r)}
	if r.Raw() {
		p.Field = "rego"
	}
	if l.tried = append(l.tried, p); r.Asked() {
		l.asked = true
		return
	}
	p.What += ", and what OPA would be asked with each request is too long: make it shorter than 32 KiB"
	l.Problems = append(l.Problems, p)
}

func read(policy string, says *v1alpha1.Authorization, in room.Surroundings) room.Law {
	l := law{Compiled: opa.Compile(opa.Policy{Key: policy, Authorization: says, TrustDomain: in.TrustDomain, GatewayAccount: in.GatewayAccount, Data: in.Data, Modules: in.Modules})}
	for _, r := range l.sample() {
		by, why := r.By()
		l.tell(v1alpha1.RuleStatus{Name: r.Short(), DecidedBy: string(by), Because: because(why)})
		if r.OfRequests() && !slices.Contains(l.requests, r.Short()) {
			l.requests = append(l.requests, r.Short())
		}
		if by == opa.OPA {
			l.undecided(r, because(why))
		}
	}
	return l
}

// slowest orders the ways in which rules are decided.
var slowest = []string{string(opa.Native), string(opa.CEL), string(opa.OPA)}

// tell tells once of a rule that holds in several ways: of the one that is decided last.
func (l *law) tell(s v1alpha1.RuleStatus) {
	i := slices.IndexFunc(l.told, func(t v1alpha1.RuleStatus) bool { return t.Name == s.Name })
	switch {
	case i < 0:
		l.told = append(l.told, s)
	case slices.Index(slowest, s.DecidedBy) > slices.Index(slowest, l.told[i].DecidedBy):
		l.told[i] = s
	}
}

// longest is how much of an expression is told of, in bytes.
const longest = 500

// instead is what becomes of a rule, or of a way of a module's, that Envoy does not decide and OPA is not asked about.
func instead(r opa.Rule) string {
	what := strings.TrimPrefix(r.Short(), "rego/")
	if r.Deny {
		return what + " keeps out all that the rest of it is about"
	}
	return what + " lets nobody in by that"
}

func because(why string) string {
	if why == "" {
		return ""
	}
	if len(why) > longest {
		why = strings.ToValidUTF8(why[:longest], "") + "…"
	}
	return fmt.Sprintf("Envoy has no matcher for %s", why)
}

func (l law) Asks() (labels []string, who bool) { return l.Labels, l.Who }

// Ruling is what a Law comes to for who is called.
type Ruling struct {
	Rules []opa.Rule
	Asked bool // OPA is, for what Envoy does not decide of some
}

func (l law) For(d room.Destination) any {
	rules, _ := l.Compiled.For(destination(d))
	return RulingOf(rules)
}

// RulingOf is one of some rules.
func RulingOf(rules []opa.Rule) Ruling {
	return Ruling{rules, slices.ContainsFunc(rules, opa.Rule.Asked)}
}

// Asks says whether proxies ask OPA for what was decided.
func Asks(d room.Decided) bool {
	ruling, is := d.Law.(Ruling)
	return is && ruling.Asked && !d.Shadow
}

// Rules are those of what was decided.
func Rules(d room.Decided) []opa.Rule {
	ruling, _ := d.Law.(Ruling)
	return ruling.Rules
}

func destination(d room.Destination) opa.Destination {
	return opa.Destination{Gateway: d.Gateway, Namespace: d.Namespace, ServiceAccount: d.ServiceAccount, Labels: d.Labels}
}

func (l law) Asked() bool { return l.asked }

func (l law) Problem(shadow bool) (what, instead string) {
	all := l.Problems
	if shadow {
		all = slices.Concat(all, l.tried)
	}
	i := slices.IndexFunc(all, func(p opa.Problem) bool { return !p.Awaited })
	if i < 0 {
		return "", ""
	}
	first := all[i]
	if first.Field != "" {
		first.Field = "." + first.Field
	}
	if instead = first.Instead; instead == "" {
		instead = "the rule lets nobody in"
	}
	return first.Field + ": " + first.What, instead
}

// sample are the rules for a destination that has whatever is asked for.
func (l *law) sample() []opa.Rule {
	d := opa.Destination{Namespace: "-", ServiceAccount: "-", Labels: map[string]string{}}
	for _, name := range l.Labels {
		d.Labels[name] = "-"
	}
	rules, problems := l.Compiled.For(d)
	l.Problems = append(l.Problems, problems...)
	return rules
}

func (l law) Told() []v1alpha1.RuleStatus { return l.told }

func (l law) Requests() []string { return l.requests }

// levels are the rules of each level at which something is said.
func levels(said []room.Written[v1alpha1.Authorization], at room.Kind) (out []opa.Level) {
	last := room.Level(-1)
	for _, w := range said {
		if w.Level != last {
			last, out = w.Level, append(out, opa.Level{Claims: w.Claims, Gateway: at == room.Gateway})
		}
		ruling, _ := w.Law.(Ruling)
		l := &out[len(out)-1]
		l.Rules = append(l.Rules, ruling.Rules...)
	}
	return out
}

// guard has requests pass what denies first, and then each level; and finds out about whom OPA is to be asked.
func guard(said []room.Written[v1alpha1.Authorization], _ [][]room.Referent, at room.Kind) (out []*corev3.TypedExtensionConfig) {
	filters, behind := opa.Indexed(levels(room.Enforced(said), at))
	for _, f := range filters {
		out = append(out, passed(f)...)
	}
	return append(out, gate(behind)...)
}

func connect(said []room.Written[v1alpha1.Authorization]) string {
	return opa.Connection(levels(room.Enforced(said), room.Service))
}
