package opa

import (
	"context"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Compiled is a Policy that OPA has read.
type Compiled struct {
	rules    []Rule
	Problems []Problem
	compiler *ast.Compiler
	kept     []ast.Ref // the rules that stay rules where they depend on a request
	// Labels are those of the Destination that it asks for, ordered: what is compiled for two that do not differ
	// in what is asked for is the same.
	Labels []string
	Who    bool // it asks for the Destination's namespace or ServiceAccount too
}

// Compile has OPA read a Policy. One that it cannot read lets nobody in.
func Compile(p Policy) Compiled {
	m := p.module()
	compiler, err := ast.CompileModules(map[string]string{"policy.rego": m.text.String()})
	if err != nil {
		return Compiled{Problems: []Problem{{What: fmt.Sprintf("it cannot be compiled: %v", err)}}}
	}
	out := Compiled{rules: m.rules, Problems: m.problems, compiler: compiler}
	out.asks()
	for _, h := range m.helpers {
		out.kept = append(out.kept, regoRef(h))
	}
	return out
}

// asks finds what the modules refer to of a Destination.
func (c *Compiled) asks() {
	found := map[string]bool{}
	for _, m := range c.compiler.Modules {
		ast.WalkRefs(m, func(r ast.Ref) bool {
			switch a, ok := fromRef(r); {
			case !ok || !a.known():
			case a.in("destination", "labels"):
				found[a.last()] = true
			default:
				c.Who = true
			}
			return false
		})
	}
	c.Labels = sorted(found)
}

var unknown = terms("input.source", "input.request", "input.jwt", "input.time", "input.destination.port")

// unknownAtGateways leaves out who calls: that is known to be nobody of the mesh.
var unknownAtGateways = terms("input.source.ip", "input.request", "input.jwt", "input.time", "input.destination.port")

func terms(refs ...string) (out []*ast.Term) {
	for _, r := range refs {
		out = append(out, ast.MustParseTerm(r))
	}
	return out
}

func (d Destination) unknown() []*ast.Term {
	if d.Gateway {
		return unknownAtGateways
	}
	return unknown
}

// For is what a Policy comes to where a Destination is called. What can never hold is left out.
func (c Compiled) For(d Destination) (out []Rule, problems []Problem) {
	for i, r := range c.rules {
		f, err := c.partial(ruleName(i), d)
		if err != nil { // closed: who would have been let in is not, who would have been kept out stays out
			problems = append(problems, Problem{What: fmt.Sprintf("rule %s cannot be compiled: %v", r.Name, err)})
			f = constant(r.Deny)
		}
		if r.is = f; !f.never() {
			out = append(out, r)
		}
	}
	return out, problems
}

// partial evaluates a rule as far as a Destination decides it.
func (c Compiled) partial(rule string, d Destination) (formula, error) {
	ctx := context.Background()
	store := inmem.NewWithOpts(inmem.OptRoundTripOnWrite(false))
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return formula{}, err
	}
	defer store.Abort(ctx, txn)
	query := topdown.NewQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(regoRef(rule))))).WithCompiler(c.compiler).WithStore(store).WithTransaction(txn).
		WithInput(ast.NewTerm(ast.MustInterfaceToValue(d.input()))).WithUnknowns(d.unknown()).WithDisableInlining(c.kept)
	bodies, support, err := query.PartialRun(ctx)
	if err != nil {
		return formula{}, err
	}
	return residual{support: support}.anyOf(bodies)
}

// regoRef is the reference to a rule of a module.
func regoRef(rule string) ast.Ref {
	out := ast.Ref{ast.DefaultRootDocument}
	for word := range strings.SplitSeq(regoPackage+"."+rule, ".") {
		out = append(out, ast.StringTerm(word))
	}
	return out
}

func (d Destination) input() map[string]any {
	labels := map[string]any{}
	for k, v := range d.Labels {
		labels[k] = v
	}
	return map[string]any{"destination": map[string]any{"namespace": d.Namespace, "service_account": d.ServiceAccount, "labels": labels}}
}

// residual reads what partial evaluation leaves.
type residual struct {
	support []*ast.Module
	within  []string // the rules that it is inside of
}

func (r residual) anyOf(bodies []ast.Body) (formula, error) {
	var ways []formula
	for _, b := range bodies {
		f, err := r.body(b)
		if err != nil {
			return formula{}, err
		}
		ways = append(ways, f)
	}
	return anyOf(ways...), nil
}

func (r residual) body(b ast.Body) (formula, error) {
	guards := guardsOf(b)
	var all []formula
	for _, e := range b {
		f, err := r.expression(e, guards)
		if err != nil {
			return formula{}, err
		}
		all = append(all, f)
	}
	return allOf(all...), nil
}

func (r residual) expression(e *ast.Expr, guards guards) (formula, error) {
	if len(e.With) > 0 {
		return formula{}, inexpressible(e)
	}
	f, err := r.positive(e, guards)
	if err == nil && e.Negated {
		f = not(f)
	}
	return f, err
}

func (r residual) positive(e *ast.Expr, guards guards) (formula, error) {
	if term, ok := e.Terms.(*ast.Term); ok {
		switch v := term.Value.(type) {
		case ast.Boolean:
			return constant(bool(v)), nil
		case ast.Ref:
			if v.HasPrefix(ast.DefaultRootRef) {
				return r.rule(e, v)
			}
		}
		return formula{}, inexpressible(e)
	}
	if e.Negated { // of a builtin: missing operands make it undefined, which is not what it says
		return formula{}, inexpressible(e)
	}
	return called(e, guards)
}

// rule reads one that partial evaluation made.
func (r residual) rule(e *ast.Expr, name ast.Ref) (formula, error) {
	for _, in := range r.within {
		if in == name.String() {
			return formula{}, inexpressible(e)
		}
	}
	inner := residual{r.support, append(r.within[:len(r.within):len(r.within)], name.String())}
	var bodies []ast.Body
	for _, m := range r.support {
		for _, rule := range m.Rules {
			if !m.Package.Path.Append(ast.StringTerm(string(rule.Head.Name))).Equal(name) {
				continue
			}
			if rule.Default || rule.Else != nil || len(rule.Head.Args) > 0 || !ast.Boolean(true).Equal(valueOf(rule)) {
				return formula{}, inexpressible(e)
			}
			bodies = append(bodies, rule.Body)
		}
	}
	return inner.anyOf(bodies)
}

func valueOf(r *ast.Rule) ast.Value {
	if r.Head.Value == nil {
		return ast.Boolean(true)
	}
	return r.Head.Value.Value
}

func inexpressible(e *ast.Expr) error {
	return fmt.Errorf("%s is nothing that Envoy decides", strings.TrimSpace(e.String()))
}
