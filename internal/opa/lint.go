package opa

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/weft-mesh/weft/internal/re2"
)

// lint says which trap a module is in. By each of these somebody has been let in whom the author meant to keep out:
//
//   - a negated call, or comparison, is undefined where what it is given is missing, so that a rule which denies by it
//     does not; a rule that is negated is true there
//   - allow and deny that are sets are true of OPA even when they are empty; and by default they are not true of
//     anything, which needs not be said
//   - names of headers are in small letters in the input
func lint(m *ast.Module) (err error) {
	kept := m.Rules[:0]
	for _, r := range m.Rules {
		if name := ruleOf(r); name == "allow" || name == "deny" {
			if err := decides(r); err != nil {
				return err
			}
			if r.Default {
				continue
			}
		}
		if ruleOf(r) == "internal" {
			return at(r.Location, "internal is a name that OPA needs for itself, as where something is in a set: choose another")
		}
		kept = append(kept, r)
	}
	m.Rules = kept
	ast.WalkExprs(m, func(e *ast.Expr) bool {
		if err == nil && e.Negated {
			err = negates(e)
		}
		if err == nil && e.IsCall() && e.Operator().String() == "regex.match" {
			err = expressed(e)
		}
		return err != nil
	})
	if err != nil {
		return err
	}
	var visit *ast.GenericVisitor
	visit = ast.NewGenericVisitor(func(x any) bool {
		t, is := x.(*ast.Term)
		if is && err == nil {
			err = refers(t)
		}
		if ref, of := termRef(t); of {
			for _, inner := range ref[1:] { // its head alone is no term of the module
				visit.Walk(inner)
			}
			return true
		}
		return err != nil
	})
	visit.Walk(m)
	return err
}

func termRef(t *ast.Term) (ast.Ref, bool) {
	if t == nil {
		return nil, false
	}
	ref, is := t.Value.(ast.Ref)
	return ref, is
}

// expressed says what is wrong with the regular expression of a call.
func expressed(e *ast.Expr) error {
	v, ok := text(e, 0)
	if !ok {
		return at(e.Location, "write the regular expression out, as a text")
	}
	if err := re2.Check(v[0]); err != nil {
		return at(e.Location, "regular expression %q: %w", v[0], err)
	}
	return nil
}

// refers says what is wrong with what a term refers to. Of a destination everything must be written out: what is compiled
// for one holds for all that are alike in what is asked for.
func refers(t *ast.Term) error {
	r, is := t.Value.(ast.Ref)
	if v, name := t.Value.(ast.Var); name && v.Equal(ast.InputRootDocument.Value) {
		r, is = ast.InputRootRef, true
	}
	if is && r.HasPrefix(ast.DefaultRootRef) && !r.HasPrefix(ast.MustParseRef("data."+rawPackage)) {
		return at(t.Location, "%s: there are no documents beside the rules of the module", t)
	}
	if !is || !r.HasPrefix(ast.InputRootRef) {
		return nil
	}
	if a, ok := fromRef(r); ok && a.header() && !headerName.MatchString(a.last()) {
		return at(t.Location, "no request has the header %q: names of headers are in small letters", a.last())
	}
	words := writtenOut(r[1:])
	switch {
	case len(words) == 0, words[0] == "destination" && (len(words) < 2 || words[1] == "labels" && len(words) < 3):
		return at(t.Location, "%s: write out what is asked for of it, such as input.destination.labels.team", t)
	}
	return nil
}

// writtenOut are the words of a reference up to the first that is not written out.
func writtenOut(r ast.Ref) (out []string) {
	for _, t := range r {
		s, is := t.Value.(ast.String)
		if !is {
			break
		}
		out = append(out, string(s))
	}
	return out
}

// ruleOf is the name of a rule, or the first word of it.
func ruleOf(r *ast.Rule) string {
	if ref := r.Head.Ref(); len(ref) > 0 {
		return strings.Trim(ref[0].String(), `"`)
	}
	return r.Head.Name.String()
}

// decides says what is wrong with a rule that is allow or deny.
func decides(r *ast.Rule) error {
	value, is := valueOf(r).(ast.Boolean)
	switch {
	case r.Head.Key != nil, len(r.Head.Args) > 0, len(r.Head.Ref()) > 1, !is:
		return at(r.Location, "%[1]s is a rule that is true: write %[1]s if { … }", ruleOf(r))
	case r.Default && bool(value):
		return at(r.Location, "%[1]s is not true by default: write %[1]s if true", ruleOf(r))
	case r.Else != nil:
		return at(r.Location, "%[1]s has an else: write another %[1]s if { … }", ruleOf(r))
	case !r.Default && !bool(value):
		return at(r.Location, "%[1]s is true where it holds: write %[1]s if { … }", ruleOf(r))
	}
	return nil
}

// negates says whether it is something else than a rule that an expression negates.
func negates(e *ast.Expr) error {
	if term, is := e.Terms.(*ast.Term); is {
		switch v := term.Value.(type) {
		case ast.Var:
			return nil
		case ast.Ref:
			if len(v) == 1 || !v.HasPrefix(ast.InputRootRef) {
				return nil
			}
		}
	}
	return at(e.Location, "%s is undefined, and not true, where what it asks for is missing: write a rule that holds of what is to be kept out, and negate that", e)
}
