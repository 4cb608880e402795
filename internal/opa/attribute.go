package opa

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// attribute is something of an Input: the words of its reference after input, such as request, headers, x-a.
type attribute []string

// The attributes that need names here.
var (
	principal      = attribute{"source", "principal"}
	trustDomain    = attribute{"source", "trust_domain"}
	namespace      = attribute{"source", "namespace"}
	serviceAccount = attribute{"source", "service_account"}
	sourceIP       = attribute{"source", "ip"}
	port           = attribute{"destination", "port"}
	method         = attribute{"request", "method"}
	path           = attribute{"request", "path"}
	host           = attribute{"request", "host"}
	hour           = attribute{"time", "hour"}
	weekday        = attribute{"time", "weekday"}
)

func header(name string) attribute { return attribute{"request", "headers", name} }

func claim(keys ...string) attribute { return append(attribute{"jwt", "claims"}, keys...) }

var written = map[string]attribute{
	"source.principal": principal, "source.trustDomain": trustDomain, "source.namespace": namespace, "source.serviceAccount": serviceAccount,
	"destination.namespace": {"destination", "namespace"}, "destination.serviceAccount": {"destination", "service_account"},
	"request.method": method, "request.path": path, "request.host": host,
	"jwt.issuer": claim("iss"), "jwt.subject": claim("sub"), "time.hour": hour, "time.weekday": weekday,
}

var inBrackets = regexp.MustCompile(`\[([^][]+)\]`)

// headerName is one as HTTP/2 has it.
var headerName = regexp.MustCompile(`^[a-z0-9][-a-z0-9]*$`)

// attributeOf reads an attribute as it is written in a policy; false if there is none such.
func attributeOf(text string) (attribute, bool) {
	if a, is := written[text]; is {
		return a, true
	}
	root, rest, _ := strings.Cut(text, "[")
	var keys []string
	for _, m := range inBrackets.FindAllStringSubmatch("["+rest, -1) {
		keys = append(keys, m[1])
	}
	if len(keys) == 0 || root+"["+strings.Join(keys, "][")+"]" != text {
		return nil, false
	}
	switch {
	case root == "jwt.claims":
		return claim(keys...), true
	case len(keys) > 1:
		return nil, false
	case root == "destination.labels":
		return attribute{"destination", "labels", keys[0]}, true
	case root == "request.headers":
		return header(keys[0]), headerName.MatchString(keys[0])
	case root == "request.segments":
		n, err := strconv.Atoi(keys[0])
		return attribute{"request", "segments", strconv.Itoa(n)}, err == nil && n >= 0 && n < maxSegments
	}
	return nil, false
}

// maxSegments is how many segments of a path can be asked for.
const maxSegments = 10

func (a attribute) in(root ...string) bool {
	return len(a) >= len(root) && strings.Join(a[:len(root)], "\x00") == strings.Join(root, "\x00")
}

func (a attribute) is(b attribute) bool { return len(a) == len(b) && a.in(b...) }

func (a attribute) claim() bool   { return a.in("jwt") }
func (a attribute) header() bool  { return a.in("request", "headers") }
func (a attribute) segment() bool { return a.in("request", "segments") }
func (a attribute) known() bool   { return a.in("destination") && !a.is(port) }

// folds says whether values of it are compared without regard to case by rules that deny.
func (a attribute) folds() bool { return a.is(path) || a.header() || a.segment() }

func (a attribute) last() string { return a[len(a)-1] }

// index is that of a segment.
func (a attribute) index() int {
	n, err := strconv.Atoi(a.last())
	if err != nil {
		panic(err) // attributeOf and fromRef make none
	}
	return n
}

// rego is the reference to it.
func (a attribute) rego() string {
	out := "input"
	for i, word := range a {
		switch {
		case i == 2 && a.segment():
			out += "[" + word + "]"
		case i < 2: // of the schema
			out += "." + word
		default:
			out += "[" + quote(word) + "]"
		}
	}
	return out
}

// fromRef is the attribute that a reference is to; false if it is to none.
func fromRef(ref ast.Ref) (attribute, bool) {
	if !ref.HasPrefix(ast.InputRootRef) || len(ref) < 3 {
		return nil, false
	}
	var out attribute
	for _, t := range ref[1:] {
		switch v := t.Value.(type) {
		case ast.String:
			out = append(out, string(v))
		case ast.Number:
			n, ok := v.Int()
			if !ok || n < 0 || n >= maxSegments || len(out) != 2 || !out.segment() {
				return nil, false
			}
			out = append(out, strconv.Itoa(n))
		default:
			return nil, false
		}
	}
	if whole := out.is(claim()); whole || out.keyed() && len(out) != 3 { // not one of them, but all, or a part of one
		return nil, false
	}
	return out, true
}

// keyed says whether it is of several by a key of one word.
func (a attribute) keyed() bool { return a.header() || a.segment() || a.in("destination", "labels") }

func (a attribute) String() string { return fmt.Sprint(strings.Join(a, ".")) }
