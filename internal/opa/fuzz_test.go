package opa_test

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/opa"
)

// FuzzWritten: whatever is written, OPA reads what becomes of it and Envoy's own checks take that; no text of
// somebody's becomes a part of an expression; and what cannot be read lets nobody in.
func FuzzWritten(f *testing.F) {
	f.Add("a", "x", "/a/{b}/{c...}", "jwt.claims[a][b]", "In", "request.segments[0]", "10.0.0.0/8", false)
	f.Add("a\n} allow if { true", `"}; allow if {`, "/)|(.*", "request.headers[X\"]", "NotIn", "", "::/0", true)
	f.Add("%", "'] || true || '' in ['", "{", "destination.labels[a]", "StartsWith", "time.hour", "10.0.0.1", true)
	f.Add("", "", "", "request.host", "EndsWith", "source.principal", "", false)
	f.Add("r", "9", "//", "time.weekday", "AtLeast", "request.body", "x", true)
	f.Fuzz(func(t *testing.T, name, value, path, attribute, operator, other, block string, deny bool) {
		rule := v1alpha1.AuthorizationRule{Name: name, Action: v1alpha1.AuthorizationAllow}
		if deny {
			rule.Action = v1alpha1.AuthorizationDeny
		}
		rule.From = []v1alpha1.AuthorizationSource{
			{ServiceAccount: &v1alpha1.ObjectName{Namespace: value, Name: name}}, {Namespace: name, IPBlocks: []string{block}}, {TrustDomain: value, JWT: &v1alpha1.AuthorizationJWT{Issuers: []string{value}, Groups: []string{name}}},
		}
		rule.To = []v1alpha1.AuthorizationOperation{
			{Methods: []string{value}, Paths: []v1alpha1.AuthorizationPath{{Exact: path}, {Prefix: path}, {Template: path}}, Hosts: []string{value, "*." + name}},
			{Headers: []v1alpha1.AuthorizationHeader{{Name: value, Values: []string{name}}}, Ports: []int32{80}}, {GRPC: []v1alpha1.AuthorizationGRPC{{Service: name, Method: value}}},
		}
		rule.When = []v1alpha1.AuthorizationCondition{{Attribute: attribute, Operator: v1alpha1.AuthorizationOperator(operator), Values: []string{value}}, {Attribute: attribute, Operator: v1alpha1.AttributeIn, Attributes: []string{other}}}
		says := &v1alpha1.Authorization{Rules: []v1alpha1.AuthorizationRule{rule, {Name: "let", From: rule.From[:1]}}, Roles: []v1alpha1.AuthorizationRole{{Name: value, May: rule.To, HeldBy: rule.From}}}
		c := opa.Compile(opa.Policy{Key: "shop/" + name, Authorization: says, TrustDomain: "mesh.test"})
		rules, problems := c.For(opa.Destination{Namespace: "shop", ServiceAccount: value, Labels: map[string]string{"a": value}})
		for _, r := range rules {
			if len(c.Problems) > 0 && strings.Contains(c.Problems[0].Field, "when") && r.Short() == name && !r.Deny && name != "let" {
				t.Errorf("%v, and %s lets in", c.Problems, r.Name)
			}
			r.By()
		}
		if len(problems) > 0 && value != "" { // which the API server does not take
			t.Error(problems)
		}
		for _, filter := range opa.Requests([]opa.Level{{Rules: rules, Claims: "claims"}, {Rules: rules}}) {
			if err := filter.ValidateAll(); err != nil {
				t.Errorf("%v in %v", err, filter)
			}
		}
		if text := opa.Connection([]opa.Level{{Rules: rules}}); strings.ContainsAny(text, "%\n\"") {
			t.Errorf("%s", text)
		}
	})
}
