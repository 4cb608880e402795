package opa

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// module writes a Policy in Rego, one rule after the other. A negation is always that of a rule: what OPA
// makes of one of an expression depends on what the expression asks for.
type module struct {
	Policy
	text     strings.Builder
	fold     bool     // in the rule under way values are compared without regard to case
	helpers  []string // the rules that a rule consists of
	rules    []Rule   // without their formulas
	problems []Problem
}

const regoPackage = "weft.policy"

// Module is the Policy in Rego: allow and deny, of an Input.
func (p Policy) Module() string {
	m := p.module()
	return m.text.String()
}

func (p Policy) module() *module {
	m := &module{Policy: p}
	fmt.Fprintf(&m.text, "# MeshPolicy %s, over input version 1.\npackage %s\n", oneLine(p.Key), regoPackage)
	for i, r := range p.Rules {
		m.rule(p.Key+"/"+r.Name, fmt.Sprintf("rules[%d]", i), r)
	}
	for i, r := range p.Roles {
		m.rule(p.Key+"/roles/"+r.Name, fmt.Sprintf("roles[%d]", i), v1alpha1.AuthorizationRule{Name: r.Name, From: r.HeldBy, To: r.May})
	}
	return m
}

func (m *module) rule(name, field string, r v1alpha1.AuthorizationRule) {
	n, deny := len(m.rules), r.Action == v1alpha1.AuthorizationDeny
	m.rules, m.fold = append(m.rules, Rule{Name: name, Deny: deny}), deny
	var all []string
	fmt.Fprintf(&m.text, "\n# %s\n", oneLine(name))
	if len(r.From) > 0 {
		h := m.helper("from_%d", n)
		for _, s := range r.From {
			m.body(h, m.source(s)...)
		}
		all = append(all, h)
	}
	if len(r.To) > 0 {
		h := m.helper("to_%d", n)
		for _, o := range r.To {
			m.operation(h, o)
		}
		all = append(all, h)
	}
	for i, c := range r.When {
		all = append(all, m.condition(m.helper("when_%d_%d", n, i), fmt.Sprintf("%s.when[%d]", field, i), c))
	}
	if len(all) == 0 {
		all = []string{"true"}
	}
	m.body(ruleName(n), all...)
	m.body(map[bool]string{true: "deny", false: "allow"}[deny], ruleName(n))
}

func ruleName(n int) string { return fmt.Sprintf("rule_%d", n) }

// helper names a rule that another consists of.
func (m *module) helper(format string, n ...any) string {
	name := fmt.Sprintf(format, n...)
	m.helpers = append(m.helpers, name)
	return name
}

// body is one way in which a rule holds.
func (m *module) body(name string, all ...string) {
	fmt.Fprintf(&m.text, "%s if { %s }\n", name, strings.Join(all, "; "))
}

func (m *module) source(s v1alpha1.AuthorizationSource) (all []string) {
	account := func(of *v1alpha1.ObjectName, name string) {
		id := fmt.Sprintf("spiffe://%s/ns/%s/sa/%s", or(s.TrustDomain, m.TrustDomain), of.Namespace, name)
		all = append(all, one(principal, id))
	}
	switch {
	case s.ServiceAccount != nil:
		account(s.ServiceAccount, s.ServiceAccount.Name)
	case s.Gateway != nil:
		account(s.Gateway, m.GatewayAccount(s.Gateway.Namespace, s.Gateway.Name))
	default:
		if s.Namespace != "" {
			all = append(all, one(namespace, s.Namespace))
		}
		if s.TrustDomain != "" {
			all = append(all, one(trustDomain, s.TrustDomain))
		}
	}
	if len(s.IPBlocks) > 0 {
		all = append(all, m.anyOf(len(s.IPBlocks), func(i int) []string {
			return []string{fmt.Sprintf("net.cidr_contains(%s, %s)", quote(s.IPBlocks[i]), sourceIP.rego())}
		}))
	}
	if s.JWT != nil {
		all = append(all, m.token(*s.JWT)...)
	}
	return all
}

func (m *module) token(t v1alpha1.AuthorizationJWT) (all []string) {
	if len(t.Issuers) > 0 {
		all = append(all, one(claim("iss"), t.Issuers...))
	}
	if len(t.Subjects) > 0 {
		all = append(all, one(claim("sub"), t.Subjects...))
	}
	if len(t.Groups) > 0 {
		all = append(all, m.claimIn(m.helper("groups_%d", len(m.helpers)), claim("groups"), t.Groups))
	}
	return all
}

// anyOf is the name of a rule that holds in several ways.
func (m *module) anyOf(n int, body func(int) []string) string {
	h := m.helper("any_%d", len(m.helpers))
	for i := range n {
		m.body(h, body(i)...)
	}
	return h
}

// operation is a way in which a rule holds.
func (m *module) operation(of string, o v1alpha1.AuthorizationOperation) {
	var all []string
	if len(o.Methods) > 0 {
		all = append(all, one(method, o.Methods...))
	}
	if len(o.Paths) > 0 {
		all = append(all, m.matches(path, pathsRegex(o.Paths)))
	}
	if len(o.GRPC) > 0 {
		all = append(all, one(method, "POST"), m.matches(path, grpcRegex(o.GRPC)))
	}
	if len(o.Hosts) > 0 {
		all = append(all, m.matches(host, hostsRegex(o.Hosts)))
	}
	for _, h := range o.Headers {
		if !headerName.MatchString(h.Name) { // no request has it
			all = append(all, "false")
			continue
		}
		if len(h.Values) == 0 {
			all = append(all, header(h.Name).rego()+" != null")
			continue
		}
		all = append(all, m.in(header(h.Name), h.Values))
	}
	if len(o.Ports) > 0 {
		all = append(all, m.anyOf(len(o.Ports), func(i int) []string { return []string{fmt.Sprintf("%s == %d", port.rego(), o.Ports[i])} }))
	}
	m.body(of, all...)
}

// in asks whether an attribute is one of some values.
func (m *module) in(a attribute, values []string) string {
	if !m.fold || !a.folds() {
		return one(a, values...)
	}
	var all []string
	for _, v := range values {
		all = append(all, regexp.QuoteMeta(v))
	}
	return m.matches(a, strings.Join(all, "|"))
}

func one(a attribute, values ...string) string {
	var all []string
	for _, v := range values {
		all = append(all, quote(v))
	}
	return fmt.Sprintf("%s in {%s}", a.rego(), strings.Join(all, ", "))
}

// matches asks whether all of an attribute matches.
func (m *module) matches(a attribute, regex string) string {
	flags := "s"
	if m.fold {
		flags = "si"
	}
	return fmt.Sprintf("regex.match(%s, %s)", quote(anchored(regex, flags)), a.rego())
}

func anchored(regex, flags string) string { return "^(?" + flags + ":" + regex + ")$" }

func pathsRegex(paths []v1alpha1.AuthorizationPath) string {
	var all []string
	for _, p := range paths {
		switch {
		case p.Exact != "":
			all = append(all, regexp.QuoteMeta(p.Exact))
		case p.Prefix != "":
			all = append(all, regexp.QuoteMeta(strings.TrimSuffix(p.Prefix, "/"))+"(?:/.*)?")
		default:
			all = append(all, templateRegex(p.Template))
		}
	}
	return strings.Join(all, "|")
}

func templateRegex(template string) string {
	var out strings.Builder
	rest := false
	for _, segment := range strings.Split(template, "/")[1:] {
		switch {
		case strings.HasSuffix(segment, "...}"):
			rest = true
		case strings.HasPrefix(segment, "{"):
			out.WriteString("/[^/]+")
		default:
			out.WriteString("/" + regexp.QuoteMeta(segment))
		}
	}
	if rest {
		out.WriteString("(?:/.*)?")
	}
	return out.String()
}

func grpcRegex(all []v1alpha1.AuthorizationGRPC) string {
	var out []string
	for _, g := range all {
		method := "[^/]+"
		if g.Method != "" {
			method = regexp.QuoteMeta(g.Method)
		}
		out = append(out, "/"+regexp.QuoteMeta(g.Service)+"/"+method)
	}
	return strings.Join(out, "|")
}

func hostsRegex(hosts []string) string {
	var out []string
	for _, h := range hosts {
		if under, is := strings.CutPrefix(h, "*."); is {
			out = append(out, "[^:]+[.]"+regexp.QuoteMeta(under))
			continue
		}
		out = append(out, regexp.QuoteMeta(h))
	}
	return strings.Join(out, "|")
}

// quote is a text as Rego and CEL read it.
func quote(s string) string {
	out, err := json.Marshal(s)
	if err != nil {
		panic(err) // a text is plain data
	}
	return string(out)
}

// oneLine is a name in a comment.
func oneLine(s string) string { return strings.Trim(quote(s), `"`) }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
