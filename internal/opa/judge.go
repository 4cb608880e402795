package opa

import (
	"context"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Judge answers a Question of one request after another.
type Judge struct {
	Question
	levels [][]heard
}

// heard is a Module that OPA has read.
type heard struct {
	*Module
	compiler    *ast.Compiler
	allow, deny ast.Body
}

// NewJudge has OPA read the modules of a Question. The error says which it cannot read.
func NewJudge(q Question) (*Judge, error) {
	out := &Judge{Question: q}
	for _, l := range q.Levels {
		var level []heard
		for _, m := range l.Modules {
			h, err := hear(m)
			if err != nil {
				return nil, fmt.Errorf("policy %s %w", m.Policy, err)
			}
			level = append(level, h)
		}
		out.levels = append(out.levels, level)
	}
	return out, nil
}

func hear(m *Module) (out heard, err error) {
	out.Module = m
	of := rawPackage
	if m.Written {
		out.compiler, err = raw(m.Text)
	} else {
		of = regoPackage
		out.compiler, err = generated(m.Text)
	}
	out.allow, out.deny = isTrue(regoRef(of, "allow")), isTrue(regoRef(of, "deny"))
	return out, err
}

// generated reads a module that rules were written in. It may come from anybody, and so may do no more than a raw one.
func generated(text string) (*ast.Compiler, error) {
	m, err := ast.ParseModuleWithOpts("", text, ast.ParserOptions{Capabilities: capabilities})
	switch {
	case err != nil:
		return nil, located(err)
	case m.Package.Path.String() != "data."+regoPackage:
		return nil, fmt.Errorf("is not of package %s", regoPackage)
	}
	return compiled(m, nil)
}

// Evidence is what is known of one request.
type Evidence struct {
	Input // without its destination but the port, and without its token
	// Claims are those that were verified, under the key of a level.
	Claims func(key string) map[string]any
	// Allowed says whether Envoy has said, under a name, that it lets in by a level.
	Allowed func(says string) bool
}

// Sentence is the answer to a Question.
type Sentence struct {
	Allowed bool
	// Policy and Rule are those that deny. Where it is that no policy of a level allows they are the first of those asked, and
	// none.
	Policy, Rule string
}

// Answer says whether a request is let in. It ends when ctx does, with an error: then nobody is.
func (j *Judge) Answer(ctx context.Context, e Evidence) (Sentence, error) {
	if e.Request == nil {
		return Sentence{}, fmt.Errorf("there is no request")
	}
	for i, l := range j.Question.Levels {
		in := e.Input
		if in.JWT = (Token{}); l.Claims != "" {
			in.JWT.Claims = e.Claims(l.Claims)
		}
		said, err := l.answer(ctx, in, j.levels[i], e.Allowed)
		if err != nil || !said.Allowed {
			return said, err
		}
	}
	return Sentence{Allowed: true}, nil
}

func (l AskedLevel) answer(ctx context.Context, in Input, modules []heard, allowed func(string) bool) (Sentence, error) {
	allow := l.Says == "" || allowed(l.Says)
	for _, m := range modules {
		to := in.Destination.Port
		if in.Destination = m.To; to != 0 {
			in.Destination.Port = to
		}
		document, err := in.document()
		if err != nil {
			return Sentence{}, err
		}
		value, err := ast.InterfaceToValue(document)
		if err != nil {
			return Sentence{}, fmt.Errorf("read the input: %w", err)
		}
		denies, err := m.holds(ctx, m.deny, value)
		if err != nil {
			return Sentence{}, fmt.Errorf("policy %s: %w", m.Policy, err)
		}
		if denies {
			return Sentence{Policy: m.Policy, Rule: m.ruleThatDenies()}, nil
		}
		if allow {
			continue
		}
		if allow, err = m.holds(ctx, m.allow, value); err != nil {
			return Sentence{}, fmt.Errorf("policy %s: %w", m.Policy, err)
		}
	}
	if !allow {
		return Sentence{Policy: modules[0].Policy, Rule: "none"}, nil
	}
	return Sentence{Allowed: true}, nil
}

// ruleThatDenies is what logs call it: of several the module does not say which.
func (h heard) ruleThatDenies() string {
	if h.Written {
		return rawDeny
	}
	return "deny"
}

// holds asks OPA whether a rule is true.
func (m heard) holds(ctx context.Context, rule ast.Body, input ast.Value) (bool, error) {
	query, done, err := newQuery(ctx, m.compiler, rule, input)
	if err != nil {
		return false, err
	}
	defer done()
	end := topdown.NewCancel()
	defer context.AfterFunc(ctx, end.Cancel)()
	found, err := query.WithCancel(end).Run(ctx)
	switch {
	case topdown.IsCancel(err):
		return false, fmt.Errorf("OPA takes too long: %w", context.Cause(ctx))
	case err != nil:
		return false, err
	}
	return len(found) > 0, nil
}
