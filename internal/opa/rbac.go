package opa

import (
	"fmt"
	"slices"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"

	"github.com/weft-mesh/weft/internal/wire"
)

// Level are the rules of all Policies of one level: a request that none of them denies, and one allows, is let in
// by it.
type Level struct {
	Rules []Rule
	// Claims is the key of the claims that it goes by, in the metadata that verified tokens are in; "": it has none.
	Claims string
	// Gateway says that they are about a Gateway.
	Gateway bool
}

// Requests are what a request must pass, one after the other: what denies first, then each level. Nobody is asked: what
// is left of rules that allow lets nobody in.
func Requests(levels []Level) (out []*rbacv3.RBAC) {
	for _, f := range filters(levels, nil) {
		out = append(out, f.rbac())
	}
	return out
}

// Indexed are Requests of which each has its policies in Indexes, where there are many; and behind them a Gate, where OPA is
// to be asked. nil: it need not be.
func Indexed(levels []Level) (out []Filter, behind *Gate) {
	g := &gate{doubt: filter{action: rbacv3.RBAC_DENY}}
	for i, f := range filters(levels, g) {
		next := f.indexed(fmt.Sprint("weft_", i))
		next.Says = f.says
		out = append(out, next)
	}
	return out, g.finished(slices.ContainsFunc(levels, func(l Level) bool { return l.Gateway }))
}

// filters have OPA asked by a gate; nil: by none.
func filters(levels []Level, g *gate) (out []filter) {
	deny := filter{action: rbacv3.RBAC_DENY}
	for i, l := range levels {
		allow := filter{action: rbacv3.RBAC_ALLOW}
		for _, r := range l.Rules {
			if r.is = r.is.by(l.Claims); r.is.never() {
				continue
			}
			p, left := r.policy()
			switch asked := g != nil && len(left) > 0 && r.module != nil; {
			case asked && r.Deny:
				g.ask(i, l, r)
				g.doubt.add(r.Name, p, r.is)
			case asked:
				allow.says = g.ask(i, l, r).Says
				allow.bounds = append(allow.bounds, entry{r.Name, p, r.is})
			case r.Deny:
				deny.add(r.Name, p, r.is)
			case len(left) > 0:
				p.Principals = []*rbacv3.Principal{{Identifier: &rbacv3.Principal_NotId{NotId: anybody()}}}
				allow.add(r.Name, p, r.is)
			default:
				allow.add(r.Name, p, r.is)
			}
		}
		out = append(out, allow)
	}
	deny.shapes(levels, g)
	if len(deny.entries) > 0 {
		out = append([]filter{deny}, out...)
	}
	return out
}

// filter is one that is being built.
type filter struct {
	action  rbacv3.RBAC_Action
	entries []entry
	// bounds let on whom rules may allow of which something is left; says is the name under which the entries say that they
	// allow.
	bounds []entry
	says   string
}

// entry is one of its policies, and the formula of which it is made.
type entry struct {
	name   string
	policy *rbacv3.Policy
	is     formula
}

func (f *filter) add(name string, p *rbacv3.Policy, is formula) {
	f.entries = append(f.entries, entry{name, p, is})
}

// rbac has each policy under a name of its own: a Policy may be about the same pods in several ways.
func (f filter) rbac() *rbacv3.RBAC {
	out := &rbacv3.RBAC{Action: f.action, Policies: map[string]*rbacv3.Policy{}}
	for _, e := range f.entries {
		unique := e.name
		for n := 2; out.Policies[unique] != nil; n++ {
			unique = fmt.Sprintf("%s#%d", e.name, n)
		}
		out.Policies[unique] = e.policy
	}
	return out
}

// policy is a rule in Envoy's words, and what of it neither its matchers nor CEL say: it takes all whom the rule is about, and
// maybe more.
func (r Rule) policy() (p *rbacv3.Policy, left []formula) {
	callers, requests := &rbacv3.Principal_Set{}, &rbacv3.Permission_Set{}
	var behind []formula
	for _, f := range r.is.conjuncts() {
		if c, ok := caller(f); ok {
			callers.Ids = append(callers.Ids, c)
		} else if q, ok := request(f); ok {
			requests.Rules = append(requests.Rules, q)
		} else if _, ok := cel(f); ok {
			behind = append(behind, f)
			if before := f.implied(true); !before.always() {
				if c, ok := caller(before); ok {
					callers.Ids = append(callers.Ids, c)
				}
			}
		} else {
			left = append(left, f)
		}
	}
	p = &rbacv3.Policy{Principals: []*rbacv3.Principal{anybody()}, Permissions: []*rbacv3.Permission{anything()}}
	if len(callers.Ids) > 0 {
		p.Principals = []*rbacv3.Principal{{Identifier: &rbacv3.Principal_AndIds{AndIds: callers}}}
	}
	if len(requests.Rules) > 0 {
		p.Permissions = []*rbacv3.Permission{{Rule: &rbacv3.Permission_AndRules{AndRules: requests}}}
	}
	if len(behind) > 0 {
		text, _ := cel(allOf(behind...))
		p.Condition, p.CelConfig = parsed(text), celConfig
	}
	return p, left
}

// By is how a rule is decided.
type By string

// The ways.
const (
	Native By = "Native" // by Envoy's own matchers
	CEL    By = "CEL"    // by them and, where they hold, by an expression
	OPA    By = "OPA"    // by neither: OPA is asked
)

// By says how a rule is decided, and what of it is why.
func (r Rule) By() (by By, why string) {
	p, left := r.policy()
	switch {
	case len(left) > 0:
		return OPA, left[0].String()
	case p.Condition == nil:
		return Native, ""
	}
	for _, f := range r.is.conjuncts() {
		if _, ok := caller(f); !ok {
			if _, ok := request(f); !ok {
				return CEL, f.String()
			}
		}
	}
	return CEL, ""
}

// What is read of a request must be what the app reads too. So where rules ask for a header, it is there once;
// with no space around it, which HTTP/2 keeps and HTTP/1.1 does not; nothing in the path
// is encoded twice, a parameter of a segment, or encoded and would mean something else were it not; a host is a name
// without a dot at its end, or an address.
const (
	plainHeader = `^(?:[!-+\--~](?:[ -+\--~]*[!-+\--~])?)?$`
	plainPath   = `(?:[!-$&-:<-~]|%(?:2[0-246-9a-eA-E]|3[0-9ac-eAC-E]|5[0-9abd-fABD-F]|7[0-9a-eA-E]|[4689a-fA-F][0-9a-fA-F]))*`
	plainHost   = `(?:[-0-9A-Za-z_]+[.])*[-0-9A-Za-z_]+(?::[0-9]+)?|\[[0-9A-Fa-f:.]+\](?::[0-9]+)?`
)

// shapes deny the requests that are not of the shape that rules take them to be of.
func (f *filter) shapes(levels []Level, g *gate) {
	var more []attribute
	if g != nil {
		more = g.reads()
	}
	rules := reading(func(which func(attribute) bool) bool {
		return slices.ContainsFunc(more, which) || slices.ContainsFunc(levels, func(l Level) bool {
			return slices.ContainsFunc(l.Rules, func(r Rule) bool { return r.is.reads(which) })
		})
	})
	var bad []*rbacv3.Permission
	if rules(func(a attribute) bool { return a.is(path) || a.segment() }) {
		plain, _ := request(is(atom{op: matching, of: path, values: []string{plainPath}}))
		bad = append(bad, &rbacv3.Permission{Rule: &rbacv3.Permission_NotRule{NotRule: plain}})
	}
	if rules(func(a attribute) bool { return a.is(host) }) {
		plain := &rbacv3.Permission{Rule: &rbacv3.Permission_Header{Header: wire.Header(":authority", wire.Regex(plainHost))}}
		bad = append(bad, &rbacv3.Permission{Rule: &rbacv3.Permission_NotRule{NotRule: plain}})
	}
	if len(bad) > 0 {
		f.add(Ambiguous, &rbacv3.Policy{Permissions: bad, Principals: []*rbacv3.Principal{anybody()}}, constant(true))
	}
	var all []formula
	for _, name := range rules.headers() {
		all = append(all, allOf(is(atom{op: present, of: header(name)}), not(is(atom{op: plain, of: header(name)}))))
	}
	if len(all) > 0 {
		text, _ := cel(anyOf(all...))
		f.add(Repeated, &rbacv3.Policy{
			Permissions: []*rbacv3.Permission{anything()}, Principals: []*rbacv3.Principal{anybody()}, Condition: parsed(text), CelConfig: celConfig,
		}, constant(true))
	}
}

// reading says whether some rules ask for an attribute.
type reading func(which func(attribute) bool) bool

// headers are those that are asked for, ordered.
func (r reading) headers() []string {
	found := map[string]bool{}
	r(func(a attribute) bool {
		if a.header() {
			found[a.last()] = true
		}
		return false
	})
	return sorted(found)
}

func sorted(set map[string]bool) (out []string) {
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
