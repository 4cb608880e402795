package mesh

import (
	"testing"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func TestBadHeaders(t *testing.T) {
	const at = "spec.rules[0].filters[0].requestHeaderModifier"
	for want, m := range map[string]*gwv1.HTTPHeaderFilter{
		"": {Set: []gwv1.HTTPHeader{{Name: "a", Value: "tab\tand é"}}, Remove: []string{"x-a"}},
		at + ".set[1].value holds a control character: remove it": {Set: []gwv1.HTTPHeader{{Name: "a", Value: "a"}, {Name: "b", Value: "a\nb: c"}}},
		at + ".add[0].value holds a control character: remove it": {Set: []gwv1.HTTPHeader{{Name: "a", Value: "a"}}, Add: []gwv1.HTTPHeader{{Name: "b", Value: "\x00"}}},
		at + `.remove[1]: ":path" is no header's name`:            {Remove: []string{"x-a", ":path"}},
		at + `.set[0].name: ":authority" is no header's name`:     {Set: []gwv1.HTTPHeader{{Name: ":authority", Value: "a"}}},
		at + `.remove[0]: "" is no header's name`:                 {Remove: []string{""}},
	} {
		if got := badHeaders([]gwv1.HTTPRouteFilter{{RequestHeaderModifier: m}}, "spec.rules[0]"); got.Message != want {
			t.Errorf("%q, want %q", got.Message, want)
		}
	}
}
