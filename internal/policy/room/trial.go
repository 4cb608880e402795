package room

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"

	"github.com/weft-mesh/weft/internal/wire"
)

// What policies in Shadow would refuse is found out of what the others let pass:
//
//	filters of what is enforced → filters of Envoy's RBAC that decide and refuse nothing ┐
//	                                                                     their Refusals ─┴→ which policy would refuse
//
// Who is refused by what is enforced gets no further, and is not counted.

// Refusal is why a policy in Shadow would refuse a request, or a connection, if it were enforced beside those that are.
type Refusal struct {
	Section, Policy string
	Rule            string // of the policy, or what else it is for
	// Of requests: Filter is the name of a Trying filter that would refuse, and By that of its policy by which it does;
	// "": by none, for none allows.
	Filter, By string
	// When is true, as an expression of CEL, of the connections without HTTP that would be refused.
	When string
}

// NoRule is the Rule where none allows.
const NoRule = "none"

// Trying is a filter, of a name of its own or of none, that decides by rules and refuses nothing.
func Trying(name string, rules *rbacv3.RBAC) *corev3.TypedExtensionConfig {
	if name != "" {
		name += "_"
	}
	return wire.Extension(wire.RBAC, &httprbacv3.RBAC{ShadowRules: rules, ShadowRulesStatPrefix: name})
}

// TryingAt is the name of such a filter of a section and a level.
func TryingAt(section string, l Level) string { return section + "_" + levelNames[l] }

// Enforced are what policies that are enforced say, and Tried what those in Shadow do.
func Enforced[S any](said []Written[S]) []Written[S] { return ofMode(said, false) }

// Tried are what policies in Shadow say.
func Tried[S any](said []Written[S]) []Written[S] { return ofMode(said, true) }

func ofMode[S any](said []Written[S], shadow bool) []Written[S] {
	return slices.DeleteFunc(slices.Clone(said), func(w Written[S]) bool { return w.Shadow != shadow })
}

// At says whether something is said at a level.
func At[S any](said []Written[S], l Level) bool {
	return slices.ContainsFunc(said, func(w Written[S]) bool { return w.Level == l })
}

func (s Section[S]) tryConnect(said []Decided) []Refusal {
	if s.Guarding.TryConnect != nil {
		return s.Guarding.TryConnect(s.each(said))
	}
	tried := Tried(s.each(said))
	if len(tried) == 0 {
		return nil
	}
	return []Refusal{{Section: s.Name, Policy: tried[0].Policy, Rule: NoRule, When: "true"}}
}
