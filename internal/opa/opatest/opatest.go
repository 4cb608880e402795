// Package opatest has OPA answer what policies mean, and draws policies and tokens at random.
package opatest

import (
	"context"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// Decision is what OPA is asked of policies.
type Decision struct{ query rego.PreparedEvalQuery }

// Decide has OPA read a module.
func Decide(t testing.TB, module string) Decision {
	t.Helper()
	q, err := rego.New(rego.Query(ast.MustParseModule(module).Package.Path.String()), rego.Module("policy.rego", module)).PrepareForEval(context.Background())
	if err != nil {
		t.Fatalf("%v in\n%s", err, module)
	}
	return Decision{q}
}

// Of is what it says of an Input.
func (d Decision) Of(t testing.TB, input any) (allow, deny bool) {
	t.Helper()
	v, err := ast.InterfaceToValue(input)
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.query.Eval(context.Background(), rego.EvalParsedInput(v))
	if err != nil || len(out) != 1 {
		t.Fatalf("%v, %v", out, err)
	}
	doc := out[0].Expressions[0].Value.(map[string]any)
	allow, _ = doc["allow"].(bool)
	deny, _ = doc["deny"].(bool)
	return allow, deny
}
