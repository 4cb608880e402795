package opa

import "slices"

// formula is true or false of every Input, whatever is missing in it or of another type than is asked for.
type formula struct {
	kind  kind
	parts []formula // of all, any and negation
	atom  atom
}

type kind int

const (
	anyKind kind = iota // of no parts: never
	allKind             // of no parts: always
	notKind
	atomKind
)

// atom asks for one attribute.
type atom struct {
	op     op
	of     attribute
	values []string
	number float64   // of atLeast and lessThan
	other  attribute // of equals and hasOther
}

// op is what an atom asks. What is missing, or of another type, is none of it.
type op int

const (
	isOne          op = iota // the text is one of the values
	has                      // the list has one of the values
	prefix                   // the text starts with a value
	suffix                   // the text ends with one
	matching                 // the text matches the value, a regular expression, as a whole
	within                   // the address is in a block
	equals                   // the text is that of the other
	hasOther                 // the list has the text of the other
	atLeast                  // the number is
	lessThan                 // the number is
	present                  // it is there
	null                     // it is there, and null
	textual                  // it is text
	portIs                   // the number is this one
	plain                    // the header's value is one that everybody reads alike
	unknownToEnvoy           // what the value says, in Rego
)

func is(a atom) formula { return formula{kind: atomKind, atom: a} }

func constant(b bool) formula {
	if b {
		return formula{kind: allKind}
	}
	return formula{kind: anyKind}
}

func (f formula) never() bool  { return f.kind == anyKind && len(f.parts) == 0 }
func (f formula) always() bool { return f.kind == allKind && len(f.parts) == 0 }

func allOf(all ...formula) formula { return joined(allKind, all) }
func anyOf(all ...formula) formula { return joined(anyKind, all) }

// joined leaves out what says nothing, and is one part of one.
func joined(k kind, all []formula) formula {
	var parts []formula
	for _, f := range all {
		switch {
		case f.kind == k:
			parts = append(parts, f.parts...)
		case f.never() || f.always():
			return f
		default:
			parts = append(parts, f)
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return formula{kind: k, parts: parts}
}

func not(f formula) formula {
	switch {
	case f.never() || f.always():
		return constant(f.never())
	case f.kind == notKind:
		return f.parts[0]
	}
	return formula{kind: notKind, parts: []formula{f}}
}

// conjuncts are formulas that all hold where f does.
func (f formula) conjuncts() []formula {
	if f.kind == allKind {
		return f.parts
	}
	return []formula{f}
}

// atoms are those in it.
func (f formula) atoms() (out []atom) {
	if f.kind == atomKind {
		return []atom{f.atom}
	}
	for _, p := range f.parts {
		out = append(out, p.atoms()...)
	}
	return out
}

// unknown says whether nothing of it is known to Envoy.
func (f formula) unknown() bool { return f.kind == atomKind && f.atom.op == unknownToEnvoy }

// reads are the attributes that it asks for.
func (f formula) reads(which func(attribute) bool) bool {
	return slices.ContainsFunc(f.atoms(), func(a atom) bool { return which(a.of) || a.other != nil && which(a.other) })
}

// bounded is a formula without the atoms that are not to be asked: it holds only where f does or, as an upper
// bound, wherever f does.
func (f formula) bounded(upper bool, asked func(atom) bool) formula {
	switch f.kind {
	case atomKind:
		if asked(f.atom) {
			return f
		}
		return constant(upper)
	case notKind:
		return not(f.parts[0].bounded(!upper, asked))
	}
	var parts []formula
	for _, p := range f.parts {
		parts = append(parts, p.bounded(upper, asked))
	}
	return joined(f.kind, parts)
}

// by is a formula that goes by the claims of a key; without one it has none to go by.
func (f formula) by(key string) formula {
	switch f.kind {
	case atomKind:
		if key == "" && (f.atom.of.claim() || f.atom.other.claim()) {
			return constant(false)
		}
		f.atom.of, f.atom.other = f.atom.of.by(key), f.atom.other.by(key)
		return f
	case notKind:
		return not(f.parts[0].by(key))
	}
	var parts []formula
	for _, p := range f.parts {
		parts = append(parts, p.by(key))
	}
	return joined(f.kind, parts)
}

// by is a claim under another key.
func (a attribute) by(key string) attribute {
	if !a.claim() {
		return a
	}
	out := slices.Clone(a)
	out[1] = key
	return out
}

// implied holds wherever f does, and asks of two attributes that are compared only whether they are there: what
// is cheap to ask before the rest.
func (f formula) implied(upper bool) formula {
	switch {
	case f.kind == notKind:
		return not(f.parts[0].implied(!upper))
	case f.kind == atomKind && f.atom.of.in("time"):
		return constant(upper)
	case f.kind == atomKind && f.atom.other != nil && upper:
		return allOf(is(atom{op: present, of: f.atom.of}), is(atom{op: present, of: f.atom.other}))
	case f.kind == atomKind && f.atom.other != nil:
		return constant(false)
	case f.kind == atomKind:
		return f
	}
	var parts []formula
	for _, p := range f.parts {
		parts = append(parts, p.implied(upper))
	}
	return joined(f.kind, parts)
}

// String is how a status calls it.
func (f formula) String() string {
	if f.kind == notKind {
		return "not " + f.parts[0].String()
	}
	atoms := f.atoms()
	if len(atoms) == 0 {
		return "nothing"
	}
	switch a := atoms[max(0, slices.IndexFunc(atoms, func(a atom) bool { return a.op == unknownToEnvoy }))]; {
	case a.op == unknownToEnvoy:
		return a.values[0]
	case a.other != nil:
		return a.of.String() + " compared with " + a.other.String()
	default:
		return a.of.String()
	}
}
