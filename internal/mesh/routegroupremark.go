package mesh

import (
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	specs "github.com/weft-mesh/weft/api/smi/specs/v1alpha4"
	"github.com/weft-mesh/weft/internal/smi"
)

// groupRemarks are on what an HTTPRouteGroup describes and hardly means, by the kinds of its users, of which
// none stands for both.
func groupRemarks(g *specs.HTTPRouteGroup, users []specs.User) (out []string) {
	named := func(kind string) bool {
		return len(users) == 0 || slices.ContainsFunc(users, func(u specs.User) bool { return u.Kind == kind })
	}
	byTarget, bySplit := named("TrafficTarget"), named(TrafficSplit)
	for i := range g.Spec.Matches {
		match, at := &g.Spec.Matches[i], fmt.Sprintf("spec.matches[%d]", i)
		if match.Name == "" {
			out = append(out, at+".name is missing, so that no TrafficTarget can name the match: give it one")
		}
		if unfit := smi.Unfit(*match, CheckRegex, ValidHeaderName); unfit.What != "" && (byTarget || unfit.Silent) {
			so := "a TrafficTarget allows nothing by it"
			if unfit.Silent {
				so += ", and a TrafficSplit sends all requests"
			}
			out = append(out, fmt.Sprintf("%s%s, so that %s: %s", at, unfit.What, so, unfit.Remedy))
		}
		if said := pathRemark(match.PathRegex, byTarget, bySplit); said != "" {
			out = append(out, fmt.Sprintf("%s.pathRegex: %s", at, said))
		}
		for _, name := range slices.Sorted(maps.Keys(match.Headers)) {
			if said := valueRemark(name, string(match.Headers[name])); said != "" {
				out = append(out, fmt.Sprintf("%s.headers[%s]: %s", at, name, said))
			}
		}
	}
	if len(users) == 0 {
		out = append(out, "no TrafficSplit or TrafficTarget of this namespace names it, without which it does nothing")
	}
	return out
}

var (
	query       = regexp.MustCompile(`\?[A-Za-z_][\w.-]*=`)
	placeholder = regexp.MustCompile(`\{[A-Za-z_]\w*\}|/:[A-Za-z_]\w*`)
)

// pathRemark is on a pathRegex that is one.
func pathRemark(text string, byTarget, bySplit bool) string {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if text == "" || err != nil {
		return ""
	}
	begins := beginning(parsed)
	part := placeholder.FindString(text)
	switch plain := strings.Trim(text, "^$"); {
	case anchoredWithin(parsed):
		return fmt.Sprintf("nothing is before ^, so that %q describes no path: write the expression without delimiters", text)
	case begins != "" && begins[0] != '/':
		return fmt.Sprintf("%q describes no path, for each begins with /, without scheme and host: begin with /", text)
	case query.MatchString(text):
		return fmt.Sprintf("%q describes no path, for they are compared without the query: take ? and what follows out", text)
	case part != "":
		return fmt.Sprintf("%s stands for itself: write [^/]+ for any part of a path", strings.TrimPrefix(part, "/"))
	case repeated(parsed) != "":
		return fmt.Sprintf("the * of %q repeats the %q before it: write .* for anything", text, repeated(parsed))
	case byTarget && strings.HasSuffix(plain, "/") && regexp.QuoteMeta(plain) == plain:
		return fmt.Sprintf("to a TrafficTarget %q is that path alone: write %s.* for what is below it", text, plain)
	case bySplit && regexp.QuoteMeta(text) == text && !strings.HasSuffix(text, "/"):
		return fmt.Sprintf("to a TrafficSplit %q is how paths begin, %s too: write %s(/.*)?$ for it and what is below it", text, text+"s", text)
	}
	return ""
}

// valueRemark is on a regular expression for the value of a header.
func valueRemark(name, text string) string {
	parsed, err := syntax.Parse(text, syntax.Perl)
	lower := strings.ToLower(name)
	switch {
	case strings.Contains(name, "_"):
		return "requests with a header that has an underscore in its name are answered 400, so that nothing matches: use another name"
	case err != nil:
		return ""
	case repeated(parsed) != "":
		return fmt.Sprintf("the * of %q repeats the %q before it: write .* for anything", text, repeated(parsed))
	case (lower == "user-agent" || lower == "cookie") && regexp.QuoteMeta(text) == text:
		return fmt.Sprintf("%q must be the whole value: write .*%s.* for a value that contains it", text, text)
	}
	return ""
}

// beginning is the text that whatever an expression matches begins with; "" where that is not one.
func beginning(e *syntax.Regexp) string {
	for e.Op == syntax.OpConcat || e.Op == syntax.OpCapture || e.Op == syntax.OpPlus {
		subs := slices.DeleteFunc(slices.Clone(e.Sub), func(s *syntax.Regexp) bool { return s.Op == syntax.OpBeginText })
		if len(subs) == 0 {
			return ""
		}
		e = subs[0]
	}
	if e.Op != syntax.OpLiteral {
		return ""
	}
	return string(e.Rune)
}

// anchoredWithin says whether an expression has a ^ after something that is not nothing.
func anchoredWithin(e *syntax.Regexp) bool {
	if e.Op != syntax.OpConcat {
		return false
	}
	at := slices.IndexFunc(e.Sub, func(s *syntax.Regexp) bool { return s.Op == syntax.OpLiteral })
	return at >= 0 && slices.ContainsFunc(e.Sub[at:], func(s *syntax.Regexp) bool { return s.Op == syntax.OpBeginText })
}

// repeated is a character by itself that a * of an expression repeats, as in a pattern of file names.
func repeated(e *syntax.Regexp) string {
	if e.Op == syntax.OpStar && e.Sub[0].Op == syntax.OpLiteral {
		return string(e.Sub[0].Rune)
	}
	for _, s := range e.Sub {
		if found := repeated(s); found != "" {
			return found
		}
	}
	return ""
}
