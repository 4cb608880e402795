package opa

import (
	"context"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Witness is a Policy that OPA evaluates whole, with a rule of its own for each part of each rule: beside what it
// answers, it tells why.
type Witness struct {
	compiler *ast.Compiler
	raw      *ast.Compiler // of its module; nil: it has none
	rules    []Finding     // as they are written: nothing is known of a request yet
}

// Testimony is what a Policy answers, and what it finds of each of its rules, in their order.
type Testimony struct {
	Allow, Deny bool
	Rules       []Finding
}

// Finding is what was found of one rule, or role.
type Finding struct {
	Name string `json:"name"` // <namespace>/<policy>/<rule>, or <namespace>/<policy>/roles/<role>
	Deny bool   `json:"deny,omitempty"`
	// Holds says whether the rule does: with a request, as OPA answers.
	Holds bool   `json:"holds"`
	From  Clause `json:"from"`
	To    Clause `json:"to"`
	When  Clause `json:"when"`
}

// Clause is one of the three things that a rule asks: it holds if one of its ways does, or if there are none.
type Clause struct {
	Ways []Way `json:"ways,omitempty"`
}

// Way are parts that all must hold.
type Way []Part

// Holds says whether all of its parts do.
func (w Way) Holds() bool { return w.failing() == 0 }

func (w Way) failing() (n int) {
	for _, p := range w {
		if !p.Holds {
			n++
		}
	}
	return n
}

// Asked says whether the rule asks anything by it.
func (c Clause) Asked() bool { return len(c.Ways) > 0 }

// Holds says whether the Clause does.
func (c Clause) Holds() bool { return !c.Asked() || c.Nearest().Holds() }

// Nearest is the way of which the fewest parts fail, the first of several; of none it has none.
func (c Clause) Nearest() (out Way) {
	for i, w := range c.Ways {
		if i == 0 || w.failing() < out.failing() {
			out = w
		}
	}
	return out
}

// Failing is how many parts must become others for the rule to hold.
func (f Finding) Failing() int {
	return f.From.Nearest().failing() + f.To.Nearest().failing() + f.When.Nearest().failing()
}

// FirstFailing is the part that fails first, from from to when, on the way that fails least; false: none does.
func (f Finding) FirstFailing() (Part, bool) {
	for _, c := range []Clause{f.From, f.To, f.When} {
		for _, p := range c.Nearest() {
			if !p.Holds {
				return p, true
			}
		}
	}
	return Part{}, false
}

// Short is the rule's name in its Policy.
func (f Finding) Short() string { return Rule{Name: f.Name}.Short() }

// Witness has OPA read a Policy. One that it cannot read lets nobody in.
func (p Policy) Witness() (Witness, error) {
	m := p.module()
	w := Witness{}
	names := m.rules
	for i, r := range p.Rules {
		w.rules = append(w.rules, m.finding(fmt.Sprintf("rules[%d]", i), "from", "to", r))
	}
	for i, r := range p.Roles {
		as := v1alpha1.AuthorizationRule{From: r.HeldBy, To: r.May}
		w.rules = append(w.rules, m.finding(fmt.Sprintf("roles[%d]", i), "heldBy", "may", as))
	}
	for i, r := range names {
		w.rules[i].Name, w.rules[i].Deny = r.Name, r.Deny
	}
	var err error
	if w.compiler, err = ast.CompileModules(map[string]string{"policy.rego": m.text.String()}); err != nil {
		return Witness{}, fmt.Errorf("it cannot be compiled: %w", err)
	}
	w.hears(p)
	return w, nil
}

// Of is what the Policy answers of an Input. Of a connection, OPA is not asked of what rules ask of requests: that is
// held against who wants to be let in, and makes no difference to who is kept out.
func (w Witness) Of(in Input) (Testimony, error) {
	document, err := in.document()
	if err != nil {
		return Testimony{}, err
	}
	holds, err := w.evaluate(document)
	if err != nil {
		return Testimony{}, err
	}
	var out Testimony
	for i, r := range w.rules {
		f := r.of(document, holds, in.Request == nil)
		if f.Holds = holds[f.rule(i)]; in.Request == nil {
			f.Holds = f.From.Holds() && f.To.Holds() && f.When.Holds()
		}
		out.Rules = append(out.Rules, f)
	}
	for _, f := range out.Rules {
		out.Allow, out.Deny = out.Allow || f.Holds && !f.Deny, out.Deny || f.Holds && f.Deny
	}
	return out, nil
}

// evaluate tells which rules are true.
func (w Witness) evaluate(document map[string]any) (map[string]bool, error) {
	holds, err := evaluate(w.compiler, regoPackage, document)
	if err != nil {
		return nil, err
	}
	if w.raw != nil {
		said, err := evaluate(w.raw, rawPackage, document)
		if err != nil {
			return nil, err
		}
		holds[rawAllow], holds[rawDeny] = said["allow"], said["deny"]
	}
	holds[alwaysTrue] = true
	return holds, nil
}

// evaluate has OPA evaluate a package.
func evaluate(compiler *ast.Compiler, of string, document map[string]any) (map[string]bool, error) {
	input, err := ast.InterfaceToValue(document)
	if err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	ctx, result := context.Background(), ast.VarTerm("result")
	query, end, err := newQuery(ctx, compiler, ast.NewBody(ast.Equality.Expr(result, ast.NewTerm(regoRef(of)))), input)
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	defer end()
	found, err := query.Run(ctx)
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	out := map[string]bool{}
	for _, f := range found {
		answer, ok := f[result.Value.(ast.Var)].Value.(ast.Object)
		if !ok {
			continue
		}
		answer.Foreach(func(name, value *ast.Term) {
			if s, is := name.Value.(ast.String); is {
				out[string(s)] = ast.Boolean(true).Equal(value.Value)
			}
		})
	}
	return out, nil
}

// of is what was found of the rule.
func (f Finding) of(document any, holds map[string]bool, connection bool) Finding {
	for _, c := range []*Clause{&f.From, &f.To, &f.When} {
		ways := make([]Way, len(c.Ways))
		for i, w := range c.Ways {
			for _, p := range w {
				p.Holds = holds[p.rule] != p.negated
				if connection && !p.ofConnection(document) {
					p.Holds, p.Unknown = f.Deny, true
				}
				if p.of != nil {
					p.Has, p.Absent = shown(p.of, document)
				}
				if p.with != nil {
					var absent bool
					if p.With, absent = shown(p.with, document); absent {
						p.With = "absent"
					}
				}
				ways[i] = append(ways[i], p)
			}
		}
		if len(ways) > 0 {
			c.Ways = ways
		}
	}
	return f
}
