package opa

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// key is what an attribute must be for a formula to hold: the text itself or, of a path, the text and what follows.
type key struct {
	text string
	// under is what the longer texts begin with of which one may do too; "": none does.
	under string
}

// maxKeys is how many a formula may have: one that holds of more is better asked of all requests.
const maxKeys = 64

// keys are texts of which the attribute is one wherever f holds; false: it may be any, or too many.
func (f formula) keys(of attribute) (out []key, ok bool) {
	switch f.kind {
	case atomKind:
		return f.atom.keys(of)
	case notKind:
		return nil, false
	case allKind:
		for _, p := range f.parts {
			if some, is := p.keys(of); is && (!ok || len(some) < len(out)) {
				out, ok = some, true
			}
		}
		return out, ok
	}
	for _, p := range f.parts {
		some, is := p.keys(of)
		if out = append(out, some...); !is || len(out) > maxKeys {
			return nil, false
		}
	}
	return out, true
}

func (a atom) keys(of attribute) (out []key, ok bool) {
	switch {
	case a.of.segment() && of.is(path) && a.of.index() == 0 && a.op == isOne:
		for _, v := range a.values {
			out = append(out, key{"/" + v, "/" + v + "/"})
		}
	case !a.of.is(of):
		return nil, false
	case a.op == isOne:
		for _, v := range a.values {
			out = append(out, key{text: v})
		}
	case a.op == prefix && of.is(path):
		for _, v := range a.values {
			out = append(out, key{v, v})
		}
	case a.op == matching && of.is(path) && len(a.values) == 1:
		return beginnings(a.values[0])
	default:
		return nil, false
	}
	return out, len(out) <= maxKeys && !slices.ContainsFunc(out, func(k key) bool { return k.text == "" })
}

// beginnings are the keys of what matches an expression as a whole.
func beginnings(regex string) (out []key, ok bool) {
	re, err := syntax.Parse(regex, syntax.Perl)
	if err != nil {
		return nil, false
	}
	all := begins(re)
	for _, b := range all {
		switch directory := strings.TrimSuffix(b.text, "/"); {
		case b.text == "":
			return nil, false
		case b.whole && slices.Contains(all, beginning{text: b.text + "/"}): // it comes with that
		case b.whole:
			out = append(out, key{text: b.text})
		case directory != b.text && slices.Contains(all, beginning{directory, true}):
			out = append(out, key{directory, b.text})
		default:
			out = append(out, key{b.text, b.text})
		}
	}
	return out, true
}

// beginning is one of the texts of which each that matches an expression is one, if it is whole, or begins with one.
type beginning struct {
	text  string
	whole bool
}

var whatever = []beginning{{}}

func begins(re *syntax.Regexp) []beginning {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return whatever
		}
		return []beginning{{string(re.Rune), true}}
	case syntax.OpEmptyMatch:
		return []beginning{{"", true}}
	case syntax.OpCapture:
		return begins(re.Sub[0])
	case syntax.OpQuest:
		return upTo(append([]beginning{{"", true}}, begins(re.Sub[0])...))
	case syntax.OpCharClass:
		return ofClass(re)
	case syntax.OpAlternate:
		var out []beginning
		for _, s := range re.Sub {
			out = append(out, begins(s)...)
		}
		return upTo(out)
	case syntax.OpConcat:
		return inRow(re.Sub)
	}
	return whatever
}

func ofClass(re *syntax.Regexp) (out []beginning) {
	for i := 0; i < len(re.Rune); i += 2 {
		if re.Rune[i+1]-re.Rune[i] >= maxKeys {
			return whatever
		}
		for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
			out = append(out, beginning{string(r), true})
		}
	}
	return upTo(out)
}

// inRow are those of expressions that follow one another.
func inRow(subs []*syntax.Regexp) []beginning {
	out := []beginning{{"", true}}
	for _, s := range subs {
		var longer []beginning
		rest := begins(s)
		for _, b := range out {
			if !b.whole {
				longer = append(longer, b)
				continue
			}
			for _, r := range rest {
				longer = append(longer, beginning{b.text + r.text, r.whole})
			}
		}
		if len(longer) > maxKeys {
			for i := range out {
				out[i].whole = false
			}
			return out
		}
		out = longer
	}
	return out
}

// upTo gives up where there are too many.
func upTo(all []beginning) []beginning {
	if len(all) > maxKeys {
		return whatever
	}
	return all
}
