package opa

import (
	"fmt"
	"regexp"
	"slices"
)

// The guards that refuse what could be read in two ways, as logs call them.
const (
	Ambiguous = "ambiguous" // a path, or a host
	Repeated  = "repeated"  // a header
)

var (
	isPlainPath   = regexp.MustCompile("^(?:" + plainPath + ")$")
	isPlainHost   = regexp.MustCompile("^(?:" + plainHost + ")$")
	isPlainHeader = regexp.MustCompile(plainHeader)
)

// Misshapen says by which guard, if by any, a request is refused whatever it asks for, and what of it is why: what
// Requests of the same levels denies for its shape. The authority is the host as it was written.
func Misshapen(levels []Level, q Request, authority string) (guard, why string) {
	var rules []Rule
	for _, l := range levels {
		rules = append(rules, l.Rules...)
	}
	reader := func(which func(attribute) bool) string {
		i := slices.IndexFunc(rules, func(r Rule) bool { return r.reads(which) })
		if i < 0 {
			return ""
		}
		return rules[i].Name
	}
	if r := reader(func(a attribute) bool { return a.is(path) || a.segment() }); r != "" && !isPlainPath.MatchString(q.Path) {
		return Ambiguous, fmt.Sprintf("request.path is %s: rules such as %s ask for paths, and an app may read this one otherwise than a proxy does. Paths are of printable ASCII, without ; and without an encoded %%, ;, ?, # or control character", q.Path, r)
	}
	if r := reader(func(a attribute) bool { return a.is(host) }); r != "" && !isPlainHost.MatchString(authority) {
		return Ambiguous, fmt.Sprintf("the host is %q: rules such as %s ask for hosts, which are names without a dot at their end, or addresses", authority, r)
	}
	some := reading(func(which func(attribute) bool) bool { return reader(which) != "" })
	for _, name := range some.headers() {
		if value, is := q.Headers[name]; is && !isPlainHeader.MatchString(value) {
			return Repeated, fmt.Sprintf("request.headers[%s] is %q: rules such as %s ask for it, and so it may be there once, of printable ASCII, without a comma and without a space around it", name, value, reader(func(a attribute) bool { return a.is(header(name)) }))
		}
	}
	return "", ""
}
