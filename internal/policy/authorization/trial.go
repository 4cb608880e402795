package authorization

import (
	"maps"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// What policies in Shadow would refuse beside those that are enforced is what one of their rules denies; what is not of
// the shape that their rules take requests to be of; and, of a level of which nothing is enforced, what none of
// their rules allows. Where something is enforced at the level they would only add to what is allowed there.

const section = "authorization"

func try(said []room.Written[v1alpha1.Authorization], _ [][]room.Referent, at room.Kind) (out []*corev3.TypedExtensionConfig, would []room.Refusal) {
	tried := room.Tried(said)
	if len(tried) == 0 {
		return nil, nil
	}
	filters := opa.Requests(levels(tried, at))
	if deny := filters[0]; deny.Action == rbacv3.RBAC_DENY {
		filters, out = filters[1:], append(out, room.Trying(section, deny))
		for _, name := range slices.Sorted(maps.Keys(deny.Policies)) {
			policy, rule := ruleOf(name, tried)
			would = append(would, room.Refusal{Section: section, Policy: policy, Rule: rule, Filter: section, By: name})
		}
	}
	for i, first := range firsts(tried) {
		if room.At(room.Enforced(said), first.Level) {
			continue
		}
		name := room.TryingAt(section, first.Level)
		out = append(out, room.Trying(name, filters[i]))
		would = append(would, room.Refusal{Section: section, Policy: first.Policy, Rule: room.NoRule, Filter: name})
	}
	return out, would
}

// firsts are the oldest of each level.
func firsts(tried []room.Written[v1alpha1.Authorization]) []room.Written[v1alpha1.Authorization] {
	return slices.CompactFunc(slices.Clone(tried), func(a, b room.Written[v1alpha1.Authorization]) bool { return a.Level == b.Level })
}

// ruleOf takes the name of what denies apart. What a request must look like is nobody's rule: all policies together ask
// for it.
func ruleOf(name string, tried []room.Written[v1alpha1.Authorization]) (policy, rule string) {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) < 3 {
		return tried[0].Policy, name
	}
	rule, _, _ = strings.Cut(parts[2], "#")
	return parts[0] + "/" + parts[1], rule
}

func tryConnect(said []room.Written[v1alpha1.Authorization]) (would []room.Refusal) {
	tried := room.Tried(said)
	for _, l := range levels(tried, room.Service) {
		for _, r := range l.Rules {
			if when := opa.Denied(r); r.Deny && when != "" {
				policy, rule := ruleOf(r.Name, tried)
				would = append(would, room.Refusal{Section: section, Policy: policy, Rule: rule, When: when})
			}
		}
	}
	for i, first := range firsts(tried) {
		if !room.At(room.Enforced(said), first.Level) {
			let := opa.Connection([]opa.Level{{Rules: allowing(levels(tried, room.Service)[i].Rules)}})
			would = append(would, room.Refusal{Section: section, Policy: first.Policy, Rule: room.NoRule, When: "!(" + let + ")"})
		}
	}
	return would
}

func allowing(rules []opa.Rule) []opa.Rule {
	return slices.DeleteFunc(slices.Clone(rules), func(r opa.Rule) bool { return r.Deny })
}
