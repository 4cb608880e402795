package smi

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	access "github.com/weft-mesh/weft/api/smi/access/v1alpha3"
	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
)

// TestAccess: what rules come to together, and what keeps them from it.
func TestAccess(t *testing.T) {
	group, ports, named := &specs.HTTPRouteGroup{}, &specs.TCPRoute{}, &specs.TCPRoute{}
	group.Spec.Matches = []specs.HTTPMatch{{Name: "m", PathRegex: "/a"}, {Name: "empty"}}
	ports.Spec.Matches.Ports = []int32{90, 80}
	named.Spec.Matches.Name = "its"
	s := Specs{
		HTTPRouteGroup: func(name string) (*specs.HTTPRouteGroup, bool) { return group, name == "g" },
		TCPRoute: func(name string) (*specs.TCPRoute, bool) {
			r := map[string]*specs.TCPRoute{"ports": ports, "named": named}[name]
			return r, r != nil
		},
		Namesake: func(_, name string) bool { return name == "route" },
		Regex:    func(s string) error { _, err := regexp.Compile(s); return err },
		Header:   func(string) bool { return true },
	}
	for rules, want := range map[string]string{
		"[{kind: HTTPRouteGroup, name: g, matches: [m]}]":                                                              "0/m 0 []",
		"[{kind: TCPRoute, name: ports}]":                                                                              "0 1 [80 90]",
		"[{kind: TCPRoute, name: named}]":                                                                              "0 1 []",
		"[{kind: TCPRoute, name: named, matches: [its]}]":                                                              "0 1 []",
		"[{kind: TCPRoute, name: named, matches: [other]}]":                                                            "RefNotFound",
		"[{kind: TCPRoute, name: ports}, {kind: HTTPRouteGroup, name: g, matches: [m]}]":                               "0 2 [80 90], 1/m 0 [80 90]",
		"[{kind: HTTPRouteGroup, name: g, matches: [m]}, {kind: TCPRoute, name: named}]":                               "0/m 0 [], 1 2 []",
		"[{kind: HTTPRouteGroup, name: g, matches: [m]}, {kind: TCPRoute, name: gone}]":                                "RefNotFound",
		"[{kind: HTTPRouteGroup, name: g, matches: [m]}, {kind: TCPRoute, name: gone}, {kind: TCPRoute, name: ports}]": "0/m 0 [80 90], 2 2 [80 90], RefNotFound",
		"[{kind: HTTPRouteGroup, name: gone}, {kind: TCPRoute, name: ports}]":                                          "1 2 [80 90], RefNotFound",
		"[{kind: HTTPRouteGroup, name: g}]":                                                                            "0/m 0 [], InvalidMatch",
		"[{kind: HTTPRouteGroup, name: g, matches: [m]}, {kind: UDPRoute, name: ports}]":                               "0/m 0 [], NotEnforced",
		"[{kind: UDPRoute, name: ports}, {kind: TCPRoute, name: ports}]":                                               "1 1 [80 90], NotEnforced",
		"[{kind: TCPRoute, name: named, matches: [other, its]}]":                                                       "0 1 [], RefNotFound",
		"[{kind: TCPRoute, name: route}]":                                                                              "RefNotFound",
		"[{kind: Ingress, name: g}]":                                                                                   "Invalid",
		"[]":                                                                                                           "Invalid",
	} {
		target := &access.TrafficTarget{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "t"}}
		target.Spec.Destination = access.IdentityBindingSubject{Kind: "ServiceAccount", Name: "cart"}
		target.Spec.Sources = []access.IdentityBindingSubject{{Kind: "ServiceAccount", Name: "web"}}
		if err := yaml.UnmarshalStrict([]byte(rules), &target.Spec.Rules); err != nil {
			t.Fatal(err)
		}
		var got []string
		out := Access(target, s)
		for _, a := range out.Allows {
			got = append(got, fmt.Sprintf("%s %d %v", strings.TrimPrefix(a.Name, "traffictarget/shop/t/"), a.Traffic, a.Ports))
		}
		for _, p := range out.Problems {
			got = append(got, p.Reason)
		}
		if text := strings.Join(got, ", "); text != want || out.Destination != "shop/cart" {
			t.Errorf("%s: %s about %q, wanted %s", rules, text, out.Destination, want)
		}
	}
}

// TestAccessOf: whom a TrafficTarget is about, and who is let in.
func TestAccessOf(t *testing.T) {
	account := func(kind, name, namespace string) access.IdentityBindingSubject {
		return access.IdentityBindingSubject{Kind: kind, Name: name, Namespace: namespace}
	}
	for destination, want := range map[access.IdentityBindingSubject]string{
		account("ServiceAccount", "cart", ""):      "shop/cart",
		account("ServiceAccount", "cart", "shop"):  "shop/cart",
		account("ServiceAccount", "cart", "other"): "",
		account("Group", "cart", ""):               "",
		account("ServiceAccount", "Cart", ""):      "",
		account("", "cart", ""):                    "",
	} {
		target := &access.TrafficTarget{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "t"}}
		target.Spec.Destination = destination
		target.Spec.Sources = []access.IdentityBindingSubject{account("ServiceAccount", "web", ""), account("ServiceAccount", "web", "shop"), account("ServiceAccount", "x'", ""), account("ServiceAccount", "b", "A"), account("Group", "g", ""), account("ServiceAccount", "a", "office")}
		target.Spec.Rules = []access.TrafficTargetRule{{Kind: "TCPRoute", Name: "all"}}
		out := Access(target, Specs{TCPRoute: func(string) (*specs.TCPRoute, bool) { return &specs.TCPRoute{}, true }})
		if out.Destination != want || (want == "") != (len(out.Allows) == 0) || (want == "") != (len(out.Problems) == 4) {
			t.Errorf("%v: %+v", destination, out)
		}
		for _, a := range out.Allows {
			if got := fmt.Sprint(a.Sources); got != "[office/a shop/web]" {
				t.Errorf("let in: %s", got)
			}
		}
	}
}
