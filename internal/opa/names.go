package opa

import (
	"slices"

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
	for _, names := range []*[]string{&out.Labels, &out.Headers, &out.Claims} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	return out
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
