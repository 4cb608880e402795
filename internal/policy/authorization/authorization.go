// Package authorization is the section authorization: who may call what.
//
//	a policy → Law (internal/opa reads it) → rules for whom is called → filters for requests
//	                                                                  └→ an expression for connections
package authorization

import (
	"fmt"
	"slices"

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
}

func read(policy string, says *v1alpha1.Authorization, in room.Surroundings) room.Law {
	l := law{Compiled: opa.Compile(opa.Policy{Key: policy, Authorization: says, TrustDomain: in.TrustDomain, GatewayAccount: in.GatewayAccount, Data: in.Data})}
	for _, r := range l.sample() {
		by, why := r.By()
		s := v1alpha1.RuleStatus{Name: r.Short(), DecidedBy: string(by)}
		if why != "" {
			s.Because = fmt.Sprintf("Envoy has no matcher for %s", why)
		}
		if l.told = append(l.told, s); r.OfRequests() {
			l.requests = append(l.requests, r.Short())
		}
	}
	return l
}

func (l law) Asks() (labels []string, who bool) { return l.Labels, l.Who }

func (l law) For(d room.Destination) any {
	rules, _ := l.Compiled.For(destination(d))
	return rules
}

func destination(d room.Destination) opa.Destination {
	return opa.Destination{Gateway: d.Gateway, Namespace: d.Namespace, ServiceAccount: d.ServiceAccount, Labels: d.Labels}
}

func (l law) Problem() string {
	i := slices.IndexFunc(l.Problems, func(p opa.Problem) bool { return !p.Awaited })
	if i < 0 {
		return ""
	}
	first := l.Problems[i]
	if first.Field != "" {
		first.Field = "." + first.Field
	}
	return first.Field + ": " + first.What
}

// sample is a destination that has whatever is asked for.
func (l law) sample() []opa.Rule {
	d := opa.Destination{Namespace: "-", ServiceAccount: "-", Labels: map[string]string{}}
	for _, name := range l.Labels {
		d.Labels[name] = "-"
	}
	rules, _ := l.Compiled.For(d)
	return rules
}

func (l law) Told() []v1alpha1.RuleStatus { return l.told }

func (l law) Requests() []string { return l.requests }

// levels are the rules of each level at which something is said.
func levels(said []room.Written[v1alpha1.Authorization]) (out []opa.Level) {
	at := room.Level(-1)
	for _, w := range said {
		if w.Level != at {
			at, out = w.Level, append(out, opa.Level{Claims: w.Claims})
		}
		rules, _ := w.Law.([]opa.Rule)
		l := &out[len(out)-1]
		l.Rules = append(l.Rules, rules...)
	}
	return out
}

// guard has requests pass what denies first, and then each level.
func guard(said []room.Written[v1alpha1.Authorization], _ [][]room.Referent, _ room.Kind) (out []*corev3.TypedExtensionConfig) {
	for _, f := range opa.Indexed(levels(room.Enforced(said))) {
		out = append(out, passed(f)...)
	}
	return out
}

func connect(said []room.Written[v1alpha1.Authorization]) string {
	return opa.Connection(levels(room.Enforced(said)))
}
