package opa

import (
	"fmt"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/parser"
	exprv1 "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// celConfig has Envoy know the functions that are used here beside those of CEL itself.
var celConfig = &corev3.CelExpressionConfig{EnableStringFunctions: true}

// parsed is an expression as Envoy takes it.
func parsed(text string) *exprv1.Expr {
	p, err := parser.NewParser(parser.MaxRecursionDepth(-1), parser.ExpressionSizeCodePointLimit(-1))
	if err != nil {
		panic(err) // its options are constants
	}
	tree, errs := p.Parse(common.NewTextSource(text))
	if len(errs.GetErrors()) > 0 {
		panic(errs.ToDisplayString() + " in " + text) // it is of Weft's making
	}
	out, err := ast.ExprToProto(tree.Expr())
	if err != nil {
		panic(err)
	}
	return out
}

// cel is a formula as an expression that is true or false and never an error: one would be taken for false
// whatever is around it. false if some atom has no such form.
func cel(f formula) (string, bool) {
	switch f.kind {
	case atomKind:
		return celAsked(f.atom)
	case notKind:
		e, ok := cel(f.parts[0])
		return "!(" + e + ")", ok
	}
	var all []string
	for _, part := range f.parts {
		e, ok := cel(part)
		if !ok {
			return "", false
		}
		all = append(all, "("+e+")")
	}
	switch {
	case len(all) == 0:
		return strconv.FormatBool(f.kind == allKind), true
	case f.kind == allKind:
		return strings.Join(all, " && "), true
	}
	return strings.Join(all, " || "), true
}

// value is an attribute in CEL, and when it is one.
type value struct{ there, is string }

func celValue(a attribute) (value, bool) {
	id := "connection.uri_san_peer_certificate"
	switch {
	case a.is(principal):
		return value{"connection.mtls", id}, true
	case a.is(trustDomain):
		return value{"connection.mtls", id + ".split('/')[2]"}, true
	case a.is(namespace):
		return value{"connection.mtls", id + ".split('/')[4]"}, true
	case a.is(serviceAccount):
		return value{"connection.mtls", id + ".split('/')[6]"}, true
	case a.is(method):
		return value{"true", "request.method"}, true
	case a.is(path):
		return value{"true", "request.url_path"}, true
	case a.is(host):
		return value{"true", "request.host.lowerAscii().split(':')[0]"}, true
	case a.header():
		return value{quote(a.last()) + " in request.headers", "request.headers[" + quote(a.last()) + "]"}, true
	case a.segment():
		return value{fmt.Sprintf("size(request.url_path.split('/')) > %d", a.index()+1), fmt.Sprintf("request.url_path.split('/')[%d]", a.index()+1)}, true
	case a.is(hour):
		return value{"true", "request.time.getHours()"}, true
	case a.is(weekday):
		return value{"true", "request.time.getDayOfWeek()"}, true
	case a.claim():
		return celClaim(a), true
	}
	return value{}, false
}

// celClaim is a claim: of each map that it is in is asked first whether it has it.
func celClaim(a attribute) value {
	at := "metadata.filter_metadata"
	var there []string
	for i, key := range append([]string{claimsNamespace}, a[1:]...) {
		if i > 2 {
			there = append(there, "type("+at+") == map")
		}
		there = append(there, quote(key)+" in "+at)
		at += "[" + quote(key) + "]"
	}
	return value{strings.Join(there, " && "), at}
}

// celAsked nests what is asked in conditions, each of which is an error only where the one before is false.
func celAsked(a atom) (string, bool) {
	v, ok := celValue(a.of)
	if !ok {
		return "", false
	}
	asks, ok := celAsks(a, v)
	return ifThen(v.there, asks), ok
}

// celAsks is what is asked of a value that is there.
func celAsks(a atom, v value) (string, bool) {
	switch a.op {
	case present:
		return "true", true
	case null:
		return "type(" + v.is + ") == null_type", true
	case textual:
		return "type(" + v.is + ") == string", true
	case plain:
		return v.is + ".matches(" + quote(plainHeader) + ")", true
	case atLeast:
		return celNumber(a, v, ">="), true
	case lessThan:
		return celNumber(a, v, "<"), true
	case isOne:
		return ofText(a.of, v, v.is+" in ["+quoted(a.values)+"]"), true
	case has:
		return ofList(v, quote(a.values[0])+" in "+v.is), true
	case matching:
		return ofText(a.of, v, v.is+".matches("+quote("^"+a.values[0]+"$")+")"), true
	case prefix:
		return ofText(a.of, v, v.is+".startsWith("+quote(a.values[0])+")"), true
	case suffix:
		return ofText(a.of, v, v.is+".endsWith("+quote(a.values[0])+")"), true
	}
	return celRelated(a, v)
}

// celRelated asks for two attributes.
func celRelated(a atom, v value) (string, bool) {
	o, ok := celValue(a.other)
	if !ok {
		return "", false
	}
	asks := ofText(a.of, v, ofText(a.other, o, v.is+" == "+o.is))
	if a.op == hasOther {
		asks = ofList(v, ofText(a.other, o, o.is+" in "+v.is))
	}
	return ifThen(o.there, asks), a.op == equals || a.op == hasOther
}

func ifThen(there, asks string) string {
	switch "true" {
	case there:
		return asks
	case asks:
		return there
	}
	return "(" + there + ") ? (" + asks + ") : false"
}

// ofText asks a claim for its type first.
func ofText(a attribute, v value, asks string) string {
	if !a.claim() {
		return asks
	}
	return ifThen("type("+v.is+") == string", asks)
}

func ofList(v value, asks string) string { return ifThen("type("+v.is+") == list", asks) }

func celNumber(a atom, v value, sign string) string {
	if !a.of.claim() {
		return fmt.Sprintf("%s %s %d", v.is, sign, int64(a.number))
	}
	return fmt.Sprintf("type(%s) == double ? %s %s %s : false", v.is, v.is, sign, strconv.FormatFloat(a.number, 'f', 1, 64))
}

func quoted(all []string) string {
	var out []string
	for _, s := range all {
		out = append(out, quote(s))
	}
	return strings.Join(out, ", ")
}
