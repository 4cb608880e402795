package opa

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Compiled is a Policy that OPA has read.
type Compiled struct {
	key      string // of the Policy
	sources  []source
	shut     string // the name of a rule that denies everything; "": there is none
	Problems []Problem
	// Labels are those of the Destination that it asks for, ordered: what is compiled for two that do not differ
	// in what is asked for is the same.
	Labels []string
	Who    bool // it asks for the Destination's namespace or ServiceAccount too
}

// source is a module, and the rules that are asked for.
type source struct {
	compiler *ast.Compiler
	kept     []ast.Ref // the rules that stay rules where they depend on a request
	rules    []Rule
	refs     []ast.Ref // of the rules
	// raw says that people wrote it: what OPA does for it has an end, and each way of a rule is a Rule of its own, so
	// that one which Envoy cannot decide keeps no others.
	raw bool
	// text is what OPA is asked by requests, and reads what it asks for of the kinds that can be of several shapes.
	text  string
	reads []attribute
}

// Compile has OPA read a Policy. One that it cannot read lets nobody in.
func Compile(p Policy) Compiled {
	m := p.module()
	compiler, err := ast.CompileModules(map[string]string{"policy.rego": m.text.String()})
	if err != nil {
		return Compiled{Problems: []Problem{{What: fmt.Sprintf("it cannot be compiled: %v", err)}}}
	}
	written := source{compiler: compiler, rules: m.rules, text: m.text.String(), reads: shapely(compiler)}
	for i := range m.rules {
		written.refs = append(written.refs, regoRef(regoPackage, ruleName(i)))
	}
	for _, h := range m.helpers {
		written.kept = append(written.kept, regoRef(regoPackage, h))
	}
	out := Compiled{key: p.Key, sources: []source{written}, Problems: m.problems}
	out.read(p)
	out.asks()
	return out
}

// asks finds what the modules refer to of a Destination.
func (c *Compiled) asks() {
	found := map[string]bool{}
	for _, s := range c.sources {
		for _, m := range s.compiler.Modules {
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
	if c.shut != "" {
		out = append(out, Rule{Name: c.shut, Deny: true, is: constant(true)})
	}
	for _, s := range c.sources {
		asked := s.asked(c.key, d)
		for i, r := range s.rules {
			r.module = asked
			ways, err := s.partial(s.refs[i], d)
			switch {
			case errors.As(err, new(tooMany)) && asked != nil:
				ways = []formula{is(atom{op: unknownToEnvoy, values: []string{"all of it: " + err.Error()}})}
			case err != nil: // closed: who would have been let in is not, who would have been kept out stays out
				p := Problem{What: fmt.Sprintf("rule %s cannot be compiled: %v", r.Short(), err)}
				if r.Deny {
					p.Instead = "it denies everything"
				}
				problems, ways = append(problems, p), []formula{constant(r.Deny)}
			}
			for _, f := range ways {
				if r.is = f; !f.never() {
					out = append(out, r)
				}
			}
		}
	}
	return out, problems
}

// maxWays is how many ways of a rule of a raw module are compiled.
const maxWays = 256

// tooMany ways are those of a rule that are more than maxWays.
type tooMany int

func (n tooMany) Error() string {
	return fmt.Sprintf("it comes to %d ways to hold, and may come to %d: compare with sets, by in", int(n), maxWays)
}

// partial evaluates a rule as far as a Destination decides it, to the ways in which it holds.
func (s source) partial(rule ast.Ref, d Destination) ([]formula, error) {
	ctx := context.Background()
	query, end, err := newQuery(ctx, s.compiler, isTrue(rule), ast.MustInterfaceToValue(d.input()))
	if err != nil {
		return nil, err
	}
	defer end()
	query = query.WithUnknowns(d.unknown()).WithDisableInlining(s.kept)
	if s.raw {
		b := &budget{end: topdown.NewCancel()}
		query = query.WithCancel(b.end).WithQueryTracer(b)
	}
	bodies, support, err := query.PartialRun(ctx)
	switch {
	case topdown.IsCancel(err):
		return nil, fmt.Errorf("it takes OPA more than %d steps: make it simpler", maxSteps)
	case err != nil:
		return nil, err
	case s.raw && len(bodies) > maxWays:
		return nil, tooMany(len(bodies))
	}
	ways := residual{support: support, raw: s.raw}.ways(bodies)
	if !s.raw {
		ways = []formula{anyOf(ways...)}
	}
	return ways, nil
}

// nothing is what there is beside modules and an Input: there are no documents.
var nothing = inmem.NewWithOpts(inmem.OptRoundTripOnWrite(false))

// newQuery is one of the rules of a compiler, until end is called.
func newQuery(ctx context.Context, c *ast.Compiler, asks ast.Body, input ast.Value) (q *topdown.Query, end func(), err error) {
	txn, err := nothing.NewTransaction(ctx)
	if err != nil {
		return nil, nil, err
	}
	q = topdown.NewQuery(asks).WithCompiler(c).WithStore(nothing).WithTransaction(txn).WithInput(ast.NewTerm(input))
	return q, func() { nothing.Abort(ctx, txn) }, nil
}

// isTrue asks for a rule.
func isTrue(rule ast.Ref) ast.Body { return ast.NewBody(ast.NewExpr(ast.NewTerm(rule))) }

// regoRef is the reference to a package, or to a rule of it.
func regoRef(of string, rule ...string) ast.Ref {
	out := ast.Ref{ast.DefaultRootDocument}
	for _, word := range append(strings.Split(of, "."), rule...) {
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
	raw     bool     // people wrote it, and can be told of lines
}

func (r residual) ways(bodies []ast.Body) (out []formula) {
	for _, b := range bodies {
		out = append(out, r.body(b))
	}
	return out
}

func (r residual) body(b ast.Body) formula {
	guards := guardsOf(b)
	var all []formula
	for _, e := range b {
		all = append(all, r.expression(e, guards))
	}
	return allOf(all...)
}

func (r residual) expression(e *ast.Expr, guards guards) formula {
	if len(e.With) > 0 {
		return r.inexpressible(e)
	}
	f := r.positive(e, guards)
	if e.Negated && !f.unknown() {
		return not(f)
	}
	return f
}

func (r residual) positive(e *ast.Expr, guards guards) formula {
	if term, ok := e.Terms.(*ast.Term); ok {
		switch v := term.Value.(type) {
		case ast.Boolean:
			return constant(bool(v))
		case ast.Ref:
			if v.HasPrefix(ast.DefaultRootRef) {
				return r.rule(e, v)
			}
		}
		return r.inexpressible(e)
	}
	if e.Negated { // of a builtin: missing operands make it undefined, which is not what it says
		return r.inexpressible(e)
	}
	if nameless(e) {
		return constant(false)
	}
	if f, ok := ask(e, guards); ok {
		return possible(f)
	}
	return r.inexpressible(e)
}

// rule reads one that partial evaluation made. That it is false by default makes no difference to who asks whether it is
// true.
func (r residual) rule(e *ast.Expr, name ast.Ref) formula {
	if slices.Contains(r.within, name.String()) {
		return r.inexpressible(e)
	}
	inner := residual{r.support, append(r.within[:len(r.within):len(r.within)], name.String()), r.raw}
	var bodies []ast.Body
	for _, m := range r.support {
		for _, rule := range m.Rules {
			if !m.Package.Path.Append(ast.StringTerm(string(rule.Head.Name))).Equal(name) {
				continue
			}
			if rule.Default && ast.Boolean(false).Equal(valueOf(rule)) {
				continue
			}
			if rule.Default || rule.Else != nil || len(rule.Head.Args) > 0 || rule.Head.Key != nil || !ast.Boolean(true).Equal(valueOf(rule)) {
				return r.inexpressible(e)
			}
			bodies = append(bodies, rule.Body)
		}
	}
	return anyOf(inner.ways(bodies)...)
}

func valueOf(r *ast.Rule) ast.Value {
	if r.Head.Value == nil {
		return ast.Boolean(true)
	}
	return r.Head.Value.Value
}

// inexpressible is what is nothing that Envoy decides.
func (r residual) inexpressible(e *ast.Expr) formula {
	text := localName.ReplaceAllString(strings.TrimSpace(e.String()), "_")
	if r.raw && e.Location != nil {
		text += fmt.Sprintf(" (line %d)", e.Location.Row)
	}
	return is(atom{op: unknownToEnvoy, values: []string{text}})
}

// localName is what OPA calls a variable.
var localName = regexp.MustCompile(`__local[0-9]+__[0-9]*`)
