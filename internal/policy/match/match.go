// Package match is the section match: rules of routes that take some requests only, by what Gateway API cannot say.
//
//	from          the connection's filter state      matched with the rest of the Route
//	nodeSelector  where the proxy is                 Routes at other places have no such rule
//	claims        tokens are verified first          matched as dynamic metadata
//	cel           found out of each request first    matched as filter state
package match

import (
	"fmt"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/cel/v3"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// Section is about rules.
var Section = room.Section[v1alpha1.Match]{
	Name:  "match",
	Of:    func(spec *v1alpha1.MeshPolicySpec) *v1alpha1.Match { return spec.Match },
	On:    []room.Kind{room.HTTPRoute, room.GRPCRoute},
	Holds: room.Innermost[v1alpha1.Match],
	Traffic: room.Traffic[v1alpha1.Match]{
		Match: narrow, Takes: takes, ByLabels: byLabels, States: states, Idle: idle, Refers: refers, Problem: problem, Claims: claims,
	},
}

func problem(_ *v1alpha1.Match, _ room.Kind, part bool) string {
	if part {
		return ""
	}
	return " narrows rules of routes: name one as sectionName of the target"
}

// refers has what only a compiler can check told of. A rule whose policy is wrong is not one for everybody.
func refers(s *v1alpha1.Match) (out []room.Reference) {
	const instead = "until then the rule takes no request"
	if s.CEL != "" {
		out = append(out, room.Reference{Field: ".cel", Text: s.CEL, Instead: instead, Check: func(text string) string {
			_, problem := compile(text)
			return problem
		}})
	}
	if _, err := metav1.LabelSelectorAsSelector(s.NodeSelector); err != nil {
		out = append(out, room.Reference{Field: ".nodeSelector", Instead: instead, Check: func(string) string {
			return fmt.Sprintf("cannot be read: %v", err)
		}})
	}
	return out
}

// idle says that nobody is known by name where requests come by Gateways alone.
func idle(s *v1alpha1.Match, entrances []room.Kind) string {
	if len(s.From) == 0 || slices.Contains(entrances, room.Service) {
		return ""
	}
	return ".from names callers, who are known where they call a Service, and the route is attached to none: it takes no request; attach the route to the Service that they call"
}

// narrow takes nothing of anybody at a Gateway, whose connections have no such state.
func narrow(w room.Written[v1alpha1.Match], m *routev3.RouteMatch) {
	if len(w.Says.From) > 0 {
		m.FilterState = append(m.FilterState, room.StateIs(room.CallerState, room.AnyOf(w.Says.From)))
	}
	for _, c := range w.Says.Claims {
		m.DynamicMetadata = append(m.DynamicMetadata, room.ClaimIs(w.Claims, c))
	}
	if w.Says.CEL != "" {
		m.FilterState = append(m.FilterState, room.StateIs(truth(w.Policy), wire.Exactly("true")))
	}
}

func claims(s *v1alpha1.Match) string {
	if len(s.Claims) > 0 {
		return ".claims"
	}
	return ""
}

// truth is the filter state that says of a request whether a policy's expression is true of it.
func truth(policy string) string { return "weft.match/" + policy }

func takes(s *v1alpha1.Match, there room.Proxy) bool {
	if s.NodeSelector == nil {
		return true
	}
	selector, err := metav1.LabelSelectorAsSelector(s.NodeSelector)
	if err != nil || there.At == "" {
		return false
	}
	here := labels.Set{}
	for _, name := range byLabels(s) {
		if value := there.At.Value(name); value != "" {
			here[name] = value
		}
	}
	return selector.Matches(here)
}

func byLabels(s *v1alpha1.Match) (out []string) {
	if n := s.NodeSelector; n != nil {
		for name := range n.MatchLabels {
			out = append(out, name)
		}
		for _, e := range n.MatchExpressions {
			out = append(out, e.Key)
		}
	}
	if checked, bad := compile(s.CEL); bad == "" {
		if speaksOf(checked, regionVariable) {
			out = append(out, corev1.LabelTopologyRegion)
		}
		if speaksOf(checked, zoneVariable) {
			out = append(out, corev1.LabelTopologyZone)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// states finds out whether the expression is true of a request. Of one that is none there is no state.
func states(w room.Written[v1alpha1.Match], there room.Proxy) (out []*filterstatev3.FilterStateValue) {
	if w.Says.CEL == "" {
		return nil
	}
	checked, bad := compile(w.Says.CEL)
	if bad != "" {
		return nil
	}
	text, err := written(checked, meanings(there))
	if err != nil {
		return nil
	}
	var formatters []*corev3.TypedExtensionConfig
	if !there.Gateway && speaksOf(checked, namespaceVariable, accountVariable) {
		out = append(out, room.State(namespaceState, "%ENVIRONMENT(POD_NAMESPACE)%"), room.State(accountState, "%ENVIRONMENT(SERVICE_ACCOUNT)%"))
		formatters = append(formatters, asStrings)
	}
	return append(out, room.State(truth(w.Policy), "%CEL("+text+")%", formatters...))
}

// Whose the sidecar is, for expressions.
const (
	namespaceState = "weft.caller.namespace"
	accountState   = "weft.caller.serviceaccount"
)

// asStrings lets an expression turn filter state, which is bytes, into a string. What people write cannot: it might
// take memory without a bound.
var asStrings = wire.Extension("envoy.formatter.cel", &celv3.Cel{CelConfig: &corev3.CelExpressionConfig{EnableStringConversion: true}})

// meanings are what stands for the variables of a caller, where the proxy is.
func meanings(there room.Proxy) map[string]ast.Expr {
	f := ast.NewExprFactory()
	text := func(s string) ast.Expr { return f.NewLiteral(0, types.String(s)) }
	state := func(name string) ast.Expr {
		return f.NewCall(0, "string", f.NewCall(0, "_[_]", f.NewIdent(0, "filter_state"), text(name)))
	}
	out := map[string]ast.Expr{
		regionVariable:    text(there.At.Value(corev1.LabelTopologyRegion)),
		zoneVariable:      text(there.At.Value(corev1.LabelTopologyZone)),
		namespaceVariable: state(namespaceState),
		accountVariable:   state(accountState),
	}
	if there.Gateway {
		out[namespaceVariable], out[accountVariable] = text(""), text("")
	}
	return out
}
