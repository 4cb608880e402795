package opa

import (
	"cmp"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"

	"github.com/weft-mesh/weft/internal/re2"
)

// To Envoy some attributes are parts of a longer text, that ends where a character is which they never have: a segment of
// the path at a slash, the host at a colon. An expression of theirs must not go on beyond it.

// end is that character; "": the attribute is a text of its own.
func (a attribute) end() string {
	switch {
	case a.is(host):
		return ":"
	case a.segment(), a.is(trustDomain), a.is(namespace), a.is(serviceAccount):
		return "/"
	}
	return ""
}

// never says whether a text is in no value of an attribute: to Envoy it would be, in what is around.
func (a attribute) never(v string) bool {
	end := a.end()
	return end != "" && strings.Contains(v, end) || a.is(host) && v != strings.ToLower(v)
}

// anyBut is an expression for whatever does not have a character, if there is one.
func anyBut(end string) string {
	if end == "" {
		return "(?s:.*)"
	}
	return "[^" + end + "]*"
}

// contains holds where a text is in an attribute.
func contains(a attribute, v string) formula {
	if a.never(v) {
		return constant(false)
	}
	return is(atom{op: matching, of: a, values: []string{anyBut(a.end()) + regexp.QuoteMeta(v) + anyBut(a.end())}})
}

// matches holds where an attribute matches an expression. OPA's is content with a part, unless it says that it is not, and
// Envoy's takes the whole. false: Envoy has none that says the same.
func matches(a attribute, regex string) (formula, bool) {
	re, err := syntax.Parse(regex, syntax.Perl)
	if err != nil {
		return formula{}, false
	}
	all, ok := "", true
	if end := a.end(); end != "" {
		if all, ok = part(re, end); all == "" {
			return constant(false), ok
		}
	} else if begins, stops := anchors(re); begins && stops && strings.HasPrefix(regex, "^") && strings.HasSuffix(regex, "$") {
		all = regex[1 : len(regex)-1]
	} else {
		all = anyBut("") + "(?:" + regex + ")" + anyBut("")
	}
	return is(atom{op: matching, of: a, values: []string{all}}), ok && !a.claim() // claims may have letters that Envoy takes for several
}

// anchors says whether an expression matches from where a text begins, and to where it ends.
func anchors(re *syntax.Regexp) (begins, stops bool) {
	if re.Op != syntax.OpConcat {
		return false, false
	}
	return re.Sub[0].Op == syntax.OpBeginText, re.Sub[len(re.Sub)-1].Op == syntax.OpEndText
}

// part is an expression for the whole of a part of a text, which goes on beyond none; "": there is no such part. Of hosts,
// which are compared without regard to case in Envoy and are in small letters in OPA, it must not tell letters by their
// case.
func part(re *syntax.Regexp, end string) (out string, ok bool) {
	ways := []*syntax.Regexp{re}
	if re.Op == syntax.OpAlternate {
		ways = re.Sub
	}
	var all []string
	for _, way := range ways {
		if impossible(way, rune(end[0])) {
			continue
		}
		begins, stops := anchors(way)
		if begins {
			way.Sub = way.Sub[1:]
		}
		if stops {
			way.Sub = way.Sub[:len(way.Sub)-1]
		}
		if !ends(way, end == ":", rune(end[0])) {
			return "", false
		}
		text := "(?:" + way.String() + ")"
		if !begins {
			text = anyBut(end) + text
		}
		if !stops {
			text += anyBut(end)
		}
		all = append(all, text)
	}
	if out = strings.Join(all, "|"); out == "" {
		return "", true
	}
	return out, re2.Check(out) == nil
}

// impossible says whether whatever matches an expression has a character.
func impossible(re *syntax.Regexp, end rune) bool {
	has := func(s *syntax.Regexp) bool { return impossible(s, end) }
	switch re.Op {
	case syntax.OpLiteral:
		return slices.Contains(re.Rune, end)
	case syntax.OpConcat:
		return slices.ContainsFunc(re.Sub, has)
	case syntax.OpCapture, syntax.OpPlus:
		return has(re.Sub[0])
	case syntax.OpAlternate:
		return !slices.ContainsFunc(re.Sub, func(s *syntax.Regexp) bool { return !has(s) })
	}
	return false
}

// ends takes the character out of what an expression matches; false: a part of it matches that, or what has case, alone;
// or asks where a text begins or ends, which is not where its part does.
func ends(re *syntax.Regexp, folds bool, end rune) bool {
	switch re.Op {
	case syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpNoMatch:
		return false
	case syntax.OpLiteral:
		tells := folds && re.Flags&syntax.FoldCase == 0 // letters by their case
		return !slices.Contains(re.Rune, end) && !(tells && slices.ContainsFunc(re.Rune, capital))
	case syntax.OpAnyChar:
		re.Op, re.Rune = syntax.OpCharClass, without(everything, end)
	case syntax.OpAnyCharNotNL:
		re.Op, re.Rune = syntax.OpCharClass, without(without(everything, '\n'), end)
	case syntax.OpAlternate:
		re.Sub = slices.DeleteFunc(re.Sub, func(s *syntax.Regexp) bool { return impossible(s, end) })
	case syntax.OpCharClass:
		if re.Rune = without(re.Rune, end); folds {
			re.Rune = caseless(re.Rune)
		}
		if len(re.Rune) == 0 {
			return false
		}
	}
	return !slices.ContainsFunc(re.Sub, func(s *syntax.Regexp) bool { return !ends(s, folds, end) })
}

// everything are the ranges of all characters.
var everything = []rune{0, unicode.MaxRune}

func capital(r rune) bool { return r >= 'A' && r <= 'Z' }

// without are ranges without a character.
func without(ranges []rune, end rune) (out []rune) {
	for i := 0; i < len(ranges); i += 2 {
		from, to := ranges[i], ranges[i+1]
		if end < from || end > to {
			out = append(out, from, to)
			continue
		}
		if from < end {
			out = append(out, from, end-1)
		}
		if end < to {
			out = append(out, end+1, to)
		}
	}
	return out
}

// caseless are ranges of which a capital letter is in if the small one is.
func caseless(ranges []rune) []rune {
	in := func(r rune) bool {
		for i := 0; i < len(ranges); i += 2 {
			if ranges[i] <= r && r <= ranges[i+1] {
				return true
			}
		}
		return false
	}
	out := ranges
	for r := 'A'; r <= 'Z'; r++ {
		out = without(out, r)
	}
	for r := 'A'; r <= 'Z'; r++ {
		if in(r + 'a' - 'A') {
			out = append(out, r, r)
		}
	}
	return sortedRanges(out)
}

// sortedRanges are the same in order, those that touch as one: so are they told from all but a few.
func sortedRanges(ranges []rune) (out []rune) {
	type span struct{ from, to rune }
	var all []span
	for i := 0; i < len(ranges); i += 2 {
		all = append(all, span{ranges[i], ranges[i+1]})
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for _, s := range all {
		if n := len(out); n > 0 && out[n-1]+1 >= s.from {
			out[n-1] = max(out[n-1], s.to)
			continue
		}
		out = append(out, s.from, s.to)
	}
	return out
}
