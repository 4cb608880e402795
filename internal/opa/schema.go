package opa

import (
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/util"
)

// schema is that of the Input, version 1, by which OPA finds misspelt attributes.
const schema = `{
  "type": "object", "additionalProperties": false,
  "properties": {
    "source": {"type": "object", "additionalProperties": false, "properties": {
      "principal": {"type": "string"}, "trust_domain": {"type": "string"}, "namespace": {"type": "string"},
      "service_account": {"type": "string"}, "ip": {"type": "string"}}},
    "destination": {"type": "object", "additionalProperties": false, "properties": {
      "namespace": {"type": "string"}, "service_account": {"type": "string"}, "port": {"type": "number"},
      "labels": {"type": "object", "additionalProperties": {"type": "string"}}}},
    "request": {"type": "object", "additionalProperties": false, "properties": {
      "method": {"type": "string"}, "path": {"type": "string"}, "host": {"type": "string"},
      "segments": {"type": "array", "items": {"type": "string"}},
      "headers": {"type": "object", "additionalProperties": {"type": "string"}}}},
    "jwt": {"type": "object", "additionalProperties": false, "properties": {"claims": {"type": "object"}}},
    "time": {"type": "object", "additionalProperties": false, "properties": {"hour": {"type": "number"}, "weekday": {"type": "number"}}}
  }
}`

var inputSchema = sync.OnceValue(func() *ast.SchemaSet {
	var root any
	if err := util.UnmarshalJSON([]byte(schema), &root); err != nil {
		panic(err) // it is a constant
	}
	out := ast.NewSchemaSet()
	out.Put(ast.SchemaRootRef, root)
	return out
})

// builtins are OPA's functions that modules may call: they go by what they are given alone, and neither take longer nor
// make more of it than that is long. So there are none that join texts or lists, or multiply.
var builtins = []string{
	"eq", "equal", "neq", "lt", "lte", "gt", "gte", "assign", "plus", "minus", "div", "rem", "abs", "ceil", "floor", "round",
	"internal.member_2", "internal.member_3", "count", "sum", "max", "min", "and", "or", "intersection", "union",
	"startswith", "endswith", "contains", "lower", "upper", "trim", "trim_left", "trim_right", "trim_prefix", "trim_suffix", "trim_space",
	"split", "substring", "indexof", "strings.any_prefix_match", "strings.any_suffix_match",
	"regex.match", "net.cidr_contains", "object.get", "object.keys", "array.slice",
	"is_string", "is_number", "is_boolean", "is_array", "is_set", "is_object", "is_null", "type_name", "to_number",
}

var capabilities = func() *ast.Capabilities {
	out := ast.CapabilitiesForThisVersion()
	out.Builtins = slices.DeleteFunc(slices.Clone(out.Builtins), func(b *ast.Builtin) bool { return !slices.Contains(builtins, b.Name) })
	out.AllowNet = []string{}
	return out
}()

// maxSteps is how much OPA may do for one rule of one destination: some 0.2 s. Who may do more could keep others waiting.
const maxSteps = 200_000

// budget ends a query after maxSteps, which are the same for the same module on whatever machine.
type budget struct {
	end   topdown.Cancel
	steps int
}

// Enabled is true: each step is counted.
func (b *budget) Enabled() bool { return true }

// TraceEvent counts.
func (b *budget) TraceEvent(topdown.Event) {
	if b.steps++; b.steps > maxSteps {
		b.end.Cancel()
	}
}

// Config asks for nothing.
func (b *budget) Config() topdown.TraceConfig { return topdown.TraceConfig{} }
