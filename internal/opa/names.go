package opa

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Names are what a policy asks for by name: labels of whom is called, headers, and claims by the first of their
// keys; each ordered.
type Names struct{ Labels, Headers, Claims []string }

// NamesIn are those of some policies. Of what cannot be read there are none.
func NamesIn(all ...*v1alpha1.Authorization) (out Names) {
	for _, a := range all {
		for _, r := range a.Rules {
			out.rule(r)
		}
		for _, r := range a.Roles {
			out.rule(v1alpha1.AuthorizationRule{From: r.HeldBy, To: r.May})
		}
	}
	return out.With(Names{})
}

// NamesInModule are those of a module; of one that cannot be read, none.
func NamesInModule(text string) (out Names) {
	m, err := readModule(text)
	if err != nil {
		return out
	}
	ast.WalkRefs(m, func(r ast.Ref) bool {
		if a, ok := fromRef(r); ok && len(a) > 2 {
			out.attribute(a)
		}
		return false
	})
	return out
}

// With are these and others.
func (n Names) With(o Names) Names {
	sorted := func(all []string) []string {
		slices.Sort(all)
		return slices.Compact(all)
	}
	return Names{sorted(slices.Concat(n.Labels, o.Labels)), sorted(slices.Concat(n.Headers, o.Headers)), sorted(slices.Concat(n.Claims, o.Claims))}
}

// ReadsConfigMaps says whether a policy says more than is written in it.
func ReadsConfigMaps(a *v1alpha1.Authorization) bool {
	return a.Rego != nil || slices.ContainsFunc(a.Rules, func(r v1alpha1.AuthorizationRule) bool {
		return slices.ContainsFunc(r.When, func(c v1alpha1.AuthorizationCondition) bool { return c.Data != nil })
	})
}

func (n *Names) rule(r v1alpha1.AuthorizationRule) {
	for _, s := range r.From {
		for _, p := range tokenParts(s.JWT) {
			n.attribute(p.of)
		}
	}
	for _, o := range r.To {
		for _, h := range o.Headers {
			n.attribute(header(h.Name))
		}
	}
	for _, c := range r.When {
		for _, text := range append([]string{c.Attribute}, c.Attributes...) {
			if a, ok := attributeOf(text); ok {
				n.attribute(a)
			}
		}
	}
}

func (n *Names) attribute(a attribute) {
	switch {
	case a.in("destination", "labels"):
		n.Labels = append(n.Labels, a.last())
	case a.header():
		n.Headers = append(n.Headers, a.last())
	case a.claim():
		n.Claims = append(n.Claims, a[2])
	}
}
