package opa

import (
	"math"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// guards are the attributes of which a body asks for the type too, by how it does; and those of which it asks what
// only makes sense of one type. OPA compares across types, and finds entries of objects: without a guard what it
// answers is not what an atom says, and a guard by itself is no atom.
type guards map[string][]attribute

func guardsOf(b ast.Body) guards {
	out := guards{}
	for _, e := range b {
		if e.Negated || !e.IsCall() {
			continue
		}
		function := e.Operator().String()
		for i := range e.Operands() {
			a, ok := argument(e, i)
			if !ok {
				continue
			}
			out[function] = append(out[function], a)
			if kind := kindOf(function, i); kind != "" {
				out["needs "+kind] = append(out["needs "+kind], a)
			}
		}
	}
	return out
}

// kindOf is of what an operand of a function is one, where the atom that the function becomes asks for that too.
func kindOf(function string, operand int) string {
	switch {
	case function == "internal.member_2" && operand == 1:
		return "is_array"
	case function == "eq" || function == "equal":
		return "is_string"
	case function == "gte" || function == "lt":
		return "is_number"
	}
	return ""
}

// needless says whether an atom of the body asks what a guard does.
func (g guards) needless(guard *ast.Expr, a attribute) bool {
	return g.of("needs "+guard.Operator().String(), a)
}

func (g guards) of(function string, a attribute) bool {
	return slices.ContainsFunc(g[function], func(b attribute) bool { return a.is(b) })
}

// number says whether an attribute can only be a number where a body holds.
func (g guards) number(a attribute) bool { return a.in("time") || g.of("is_number", a) }

// text says whether an attribute can only be text where a body holds.
func (g guards) text(a attribute) bool { return !a.claim() && !a.in("time") || g.of("is_string", a) }

// argument is the attribute that an operand is; false if it is none.
func argument(e *ast.Expr, i int) (attribute, bool) {
	if !e.IsCall() || i >= len(e.Operands()) {
		return nil, false
	}
	ref, ok := e.Operand(i).Value.(ast.Ref)
	if !ok {
		return nil, false
	}
	return fromRef(ref)
}

// nameless says whether a call asks for a header by a name that is none in an Input: to Envoy it would be one.
func nameless(e *ast.Expr) bool {
	for i := range e.Operands() {
		if a, ok := argument(e, i); ok && a.header() && !headerName.MatchString(a.last()) {
			return true
		}
	}
	return false
}

// possible leaves out what an attribute never is, and of who calls the empty text: in Envoy a caller is also who has no
// subject in the certificate, if that is asked for.
func possible(f formula) formula {
	if f.kind != atomKind || !slices.Contains([]op{isOne, prefix, suffix}, f.atom.op) {
		return f
	}
	a := f.atom.of
	f.atom.values = slices.DeleteFunc(f.atom.values, func(v string) bool { return a.never(v) || v == "" && a.in("source") })
	if len(f.atom.values) == 0 {
		return constant(false)
	}
	return f
}

// ask is what a call asks of an Input; false if it is nothing that Envoy decides.
func ask(e *ast.Expr, g guards) (formula, bool) {
	a, first := argument(e, 0)
	b, second := argument(e, 1)
	switch e.Operator().String() {
	case "is_string", "is_array", "is_number":
		return guard(e, a, first, g)
	case "internal.member_2":
		return member(e, a, b, first, second, g)
	case "eq", "equal":
		return equal(e, a, b, first, second, g)
	case "neq":
		if second && !first {
			return differs(b, e.Operand(0))
		}
		return differs(a, e.Operand(1))
	case "gte":
		return number(e, a, atLeast, first && g.number(a))
	case "lt":
		return number(e, a, lessThan, first && g.number(a))
	}
	return ofTexts(e, a, b, first, second)
}

// ofTexts are the functions of texts: they are undefined of anything else, and so not true.
func ofTexts(e *ast.Expr, a, b attribute, first, second bool) (formula, bool) {
	switch e.Operator().String() {
	case "startswith":
		v, ok := text(e, 1)
		return is(atom{op: prefix, of: a, values: v}), first && ok && v[0] != ""
	case "endswith":
		v, ok := text(e, 1)
		return is(atom{op: suffix, of: a, values: v}), first && ok && v[0] != ""
	case "contains":
		v, ok := text(e, 1)
		return contains(a, v[0]), first && ok && v[0] != ""
	case "regex.match":
		v, ok := text(e, 0)
		f, valid := matches(b, v[0])
		return f, second && ok && valid
	case "net.cidr_contains":
		v, ok := text(e, 0)
		return is(atom{op: within, of: b, values: v}), second && ok && b.is(sourceIP)
	}
	return formula{}, false
}

// differs is there, and not a text; of null, there and not null.
func differs(a attribute, from *ast.Term) (formula, bool) {
	there := is(atom{op: present, of: a})
	if from.Value.Compare(ast.Null{}) == 0 {
		if a.claim() {
			there = allOf(there, not(is(atom{op: null, of: a})))
		}
		return there, a != nil
	}
	v, ok := from.Value.(ast.String)
	return allOf(there, not(possible(is(atom{op: isOne, of: a, values: []string{string(v)}})))), a != nil && ok && !a.in("time")
}

// guard is nothing by itself where an atom asks the same, and else possible of texts alone.
func guard(e *ast.Expr, a attribute, ok bool, g guards) (formula, bool) {
	switch {
	case ok && g.needless(e, a):
		return constant(true), true
	case e.Operator().String() != "is_string" || !ok || a.in("time"):
		return formula{}, false
	case a.claim():
		return is(atom{op: textual, of: a}), true
	}
	return is(atom{op: present, of: a}), true
}

func member(e *ast.Expr, a, b attribute, first, second bool, g guards) (formula, bool) {
	switch {
	case first && second:
		return is(atom{op: hasOther, of: b, other: a}), g.of("is_array", b) && g.text(a)
	case first:
		values, ok := texts(e.Operand(1))
		return is(atom{op: isOne, of: a, values: values}), ok
	case second:
		v, ok := text(e, 0)
		return is(atom{op: has, of: b, values: v}), ok && g.of("is_array", b)
	}
	return formula{}, false
}

func equal(e *ast.Expr, a, b attribute, first, second bool, g guards) (formula, bool) {
	switch {
	case first && second:
		return is(atom{op: equals, of: a, other: b}), g.text(a) || g.text(b)
	case first && a.is(port):
		return number(e, a, portIs, true)
	case first:
		v, ok := text(e, 1)
		return is(atom{op: isOne, of: a, values: v}), ok
	case second:
		v, ok := text(e, 0)
		return is(atom{op: isOne, of: b, values: v}), ok
	}
	return formula{}, false
}

func number(e *ast.Expr, a attribute, o op, ok bool) (formula, bool) {
	n, is_ := e.Operand(1).Value.(ast.Number)
	if !ok || !is_ {
		return formula{}, false
	}
	f, exact := n.Float64()
	return is(atom{op: o, of: a, number: f}), exact && f == math.Trunc(f) && math.Abs(f) < 1<<53
}

// text is an operand, alone.
func text(e *ast.Expr, i int) ([]string, bool) {
	s, ok := e.Operand(i).Value.(ast.String)
	return []string{string(s)}, ok
}

// texts are the entries of a set or a list.
func texts(t *ast.Term) (out []string, ok bool) {
	each := func(t *ast.Term) {
		s, is := t.Value.(ast.String)
		ok, out = ok && is, append(out, string(s))
	}
	ok = true
	switch v := t.Value.(type) {
	case ast.Set:
		v.Foreach(each)
	case *ast.Array:
		v.Foreach(each)
	default:
		return nil, false
	}
	slices.Sort(out)
	return out, ok
}
