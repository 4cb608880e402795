package opa

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Part is one thing that a rule asks.
type Part struct {
	Field     string `json:"field"`            // of the section: rules[0].to[1].methods
	Attribute string `json:"attribute"`        // of which it asks, as policies write it
	Has       string `json:"has,omitempty"`    // what the request has of it
	Absent    bool   `json:"absent,omitempty"` // it has nothing of it
	Takes     string `json:"takes"`            // what the rule takes, in words
	// Values are those, one of which makes the part hold, where what the rule takes are plain values.
	Values []string `json:"values,omitempty"`
	With   string   `json:"with,omitempty"` // what the request has of the other attribute, or absent, where the rule compares two
	Holds  bool     `json:"holds"`
	// Unknown says that it cannot be known of a connection without HTTP.
	Unknown bool `json:"unknown,omitempty"`
	// Problem is why it can never hold of what the rule lets in; "": it can.
	Problem string `json:"problem,omitempty"`

	rule     string // of the module
	negated  bool   // it holds where the rule does not
	of, with attribute
	others   bool // it compares with attributes
}

// String says what the request has, and what the rule takes.
func (p Part) String() string {
	var has string
	switch {
	case p.Problem != "":
		return p.Field + " " + p.Problem
	case p.Unknown:
		return fmt.Sprintf("%s is not known of a connection without HTTP, the rule takes %s", p.Attribute, p.Takes)
	case p.Field == rawField && p.Holds:
		return p.Attribute + " is true of it"
	case p.Field == rawField:
		return p.Attribute + " is not true of it"
	case p.Absent:
		has = p.Attribute + " is absent"
	default:
		has = p.Attribute + " is " + p.Has
	}
	if p.With != "" {
		return fmt.Sprintf("%s, the rule takes %s, which is %s", has, p.Takes, p.With)
	}
	return fmt.Sprintf("%s, the rule takes %s", has, p.Takes)
}

// ofConnection says whether it asks for nothing but what is known of a connection.
func (p Part) ofConnection(document any) bool {
	source, known := p.of.in("source"), p.of.in("destination")
	if p.of.is(sourceIP) { // blocks of IPv6 have too many ways to be written
		v, _ := p.of.valueIn(document)
		text, _ := v.(string)
		return !strings.Contains(text, ":")
	}
	if p.others && source { // of two attributes one must be known beforehand
		return p.with != nil && p.with.known()
	}
	return source || known
}

// shown is what a document has of an attribute.
func shown(a attribute, document any) (text string, absent bool) {
	v, ok := a.valueIn(document)
	if !ok {
		return "", true
	}
	if s, is := v.(string); is && s != "" && !strings.ContainsAny(s, " \t\n\"") {
		return s, false
	}
	out, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v), false
	}
	return string(out), false
}

// name is an attribute as policies write it.
func (a attribute) name() string {
	for text, b := range written {
		if a.is(b) {
			return text
		}
	}
	switch {
	case a.is(sourceIP):
		return "source.ip"
	case len(a) < 3:
		return a.String()
	}
	return a[0] + "." + a[1] + "[" + strings.Join(a[2:], "][") + "]"
}

// finding writes a rule for each part of a rule into the module, and tells which.
func (m *module) finding(field, from, to string, r v1alpha1.AuthorizationRule) (out Finding) {
	m.fold = r.Action == v1alpha1.AuthorizationDeny
	for i, s := range r.From {
		out.From.Ways = append(out.From.Ways, m.sourceParts(fmt.Sprintf("%s.%s[%d]", field, from, i), s))
	}
	for i, o := range r.To {
		out.To.Ways = append(out.To.Ways, m.operationParts(fmt.Sprintf("%s.%s[%d]", field, to, i), o))
	}
	var all Way
	for i, c := range r.When {
		all = append(all, m.conditionPart(fmt.Sprintf("%s.when[%d]", field, i), c))
	}
	if len(all) > 0 {
		out.When.Ways = []Way{all}
	}
	return out
}

// part is one that a rule of the module is for.
func (m *module) part(p Part, holds ...string) Part {
	p.rule, p.Attribute = m.helper("part_%d", len(m.helpers)), p.of.name()
	m.body(p.rule, holds...)
	return p
}

// sourceParts are the same as source, apart.
func (m *module) sourceParts(field string, s v1alpha1.AuthorizationSource) (out Way) {
	add := func(name string, of attribute, takes string, values []string, one v1alpha1.AuthorizationSource) {
		out = append(out, m.part(Part{Field: field + name, of: of, Takes: takes, Values: values}, m.source(one)...))
	}
	id := func(of *v1alpha1.ObjectName, account string) string {
		return fmt.Sprintf("spiffe://%s/ns/%s/sa/%s", or(s.TrustDomain, m.TrustDomain), of.Namespace, account)
	}
	switch {
	case s.ServiceAccount != nil:
		is := id(s.ServiceAccount, s.ServiceAccount.Name)
		add(".serviceAccount", principal, is, []string{is}, v1alpha1.AuthorizationSource{ServiceAccount: s.ServiceAccount, TrustDomain: s.TrustDomain})
	case s.Gateway != nil:
		is := id(s.Gateway, m.GatewayAccount(s.Gateway.Namespace, s.Gateway.Name))
		takes := fmt.Sprintf("Gateway %s/%s, which is %s", s.Gateway.Namespace, s.Gateway.Name, is)
		add(".gateway", principal, takes, []string{is}, v1alpha1.AuthorizationSource{Gateway: s.Gateway, TrustDomain: s.TrustDomain})
	default:
		if s.Namespace != "" {
			add(".namespace", namespace, s.Namespace, []string{s.Namespace}, v1alpha1.AuthorizationSource{Namespace: s.Namespace})
		}
		if s.TrustDomain != "" {
			add(".trustDomain", trustDomain, s.TrustDomain, []string{s.TrustDomain}, v1alpha1.AuthorizationSource{TrustDomain: s.TrustDomain})
		}
	}
	if len(s.IPBlocks) > 0 {
		add(".ipBlocks", sourceIP, anyText(s.IPBlocks), nil, v1alpha1.AuthorizationSource{IPBlocks: s.IPBlocks})
	}
	for _, t := range tokenParts(s.JWT) {
		add(".jwt."+t.field, t.of, anyText(t.values), t.values, v1alpha1.AuthorizationSource{JWT: &t.says})
	}
	return out
}

// tokenPart is one thing that is asked of a token.
type tokenPart struct {
	field  string
	of     attribute
	values []string
	says   v1alpha1.AuthorizationJWT
}

func tokenParts(t *v1alpha1.AuthorizationJWT) (out []tokenPart) {
	if t == nil {
		return nil
	}
	for _, p := range []tokenPart{
		{"issuers", claim("iss"), t.Issuers, v1alpha1.AuthorizationJWT{Issuers: t.Issuers}},
		{"subjects", claim("sub"), t.Subjects, v1alpha1.AuthorizationJWT{Subjects: t.Subjects}},
		{"groups", claim("groups"), t.Groups, v1alpha1.AuthorizationJWT{Groups: t.Groups}},
	} {
		if len(p.values) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// operationParts are the same as operation, apart.
func (m *module) operationParts(field string, o v1alpha1.AuthorizationOperation) (out Way) {
	add := func(name string, of attribute, takes string, values []string, one v1alpha1.AuthorizationOperation) {
		p := Part{Field: field + name, Attribute: of.name(), of: of, Takes: takes, Values: values, rule: m.helper("part_%d", len(m.helpers))}
		m.operation(p.rule, one)
		out = append(out, p)
	}
	if len(o.Methods) > 0 {
		add(".methods", method, anyText(o.Methods), o.Methods, v1alpha1.AuthorizationOperation{Methods: o.Methods})
	}
	if len(o.Paths) > 0 {
		takes, values := pathText(o.Paths)
		add(".paths", path, takes, values, v1alpha1.AuthorizationOperation{Paths: o.Paths})
	}
	if len(o.GRPC) > 0 {
		add(".grpc", method, "POST, as gRPC has it", []string{"POST"}, v1alpha1.AuthorizationOperation{Methods: []string{"POST"}})
		out = append(out, m.part(Part{Field: field + ".grpc", of: path, Takes: grpcText(o.GRPC)}, m.matches(path, grpcRegex(o.GRPC))))
	}
	if len(o.Hosts) > 0 {
		plain := slices.DeleteFunc(slices.Clone(o.Hosts), func(h string) bool { return strings.HasPrefix(h, "*") })
		add(".hosts", host, anyText(o.Hosts), plain, v1alpha1.AuthorizationOperation{Hosts: o.Hosts})
	}
	for i, h := range o.Headers {
		takes := anyText(h.Values)
		if len(h.Values) == 0 {
			takes = "any"
		}
		add(fmt.Sprintf(".headers[%d]", i), header(h.Name), takes, h.Values, v1alpha1.AuthorizationOperation{Headers: []v1alpha1.AuthorizationHeader{h}})
	}
	if len(o.Ports) > 0 {
		var all []string
		for _, p := range o.Ports {
			all = append(all, fmt.Sprint(p))
		}
		add(".ports", port, anyText(all), nil, v1alpha1.AuthorizationOperation{Ports: o.Ports})
	}
	return out
}

// conditionPart is the same as condition.
func (m *module) conditionPart(field string, c v1alpha1.AuthorizationCondition) Part {
	before := len(m.problems)
	p := Part{Field: field, Attribute: c.Attribute, negated: negated(c.Operator), rule: m.helper("part_%d", len(m.helpers))}
	m.condition(p.rule, field, c)
	if bad := m.problems[before:]; len(bad) > 0 {
		p.Problem = "cannot be read: " + bad[0].What
		m.problems = m.problems[:before] // module has them already
	}
	p.of, _ = attributeOf(c.Attribute)
	p.others = len(c.Attributes) > 0
	if len(c.Attributes) == 1 {
		p.with, _ = attributeOf(c.Attributes[0])
	}
	p.Takes = conditionText(c)
	if c.Operator == v1alpha1.AttributeIn && !p.others && c.Data == nil {
		p.Values = c.Values
	}
	return p
}

func conditionText(c v1alpha1.AuthorizationCondition) string {
	with := anyText(append(slices.Clone(c.Values), c.Attributes...))
	if c.Data != nil {
		with = dataText(*c.Data)
	}
	switch c.Operator {
	case v1alpha1.AttributeNotIn:
		return "all but " + with
	case v1alpha1.AttributeStartsWith:
		return "what starts with " + with
	case v1alpha1.AttributeEndsWith:
		return "what ends with " + with
	case v1alpha1.AttributeAtLeast:
		return with + " or more"
	case v1alpha1.AttributeLessThan:
		return "less than " + with
	case v1alpha1.AttributeExists:
		return "any"
	case v1alpha1.AttributeDoesNotExist:
		return "none"
	}
	return with
}

// anyText are alternatives.
func anyText(all []string) string {
	if n := len(all) - 1; n > 0 {
		return strings.Join(all[:n], ", ") + " or " + all[n]
	}
	return strings.Join(all, "")
}

func pathText(paths []v1alpha1.AuthorizationPath) (text string, plain []string) {
	var all []string
	for _, p := range paths {
		switch {
		case p.Exact != "":
			all, plain = append(all, p.Exact), append(plain, p.Exact)
		case p.Prefix == "/":
			all, plain = append(all, "any path"), append(plain, "/")
		case p.Prefix != "":
			under := strings.TrimSuffix(p.Prefix, "/")
			all, plain = append(all, under+" and what is under it"), append(plain, under)
		default:
			all = append(all, p.Template)
		}
	}
	return anyText(all), plain
}

func grpcText(all []v1alpha1.AuthorizationGRPC) string {
	var out []string
	for _, g := range all {
		out = append(out, "/"+g.Service+"/"+or(g.Method, "{method}"))
	}
	return anyText(out)
}
