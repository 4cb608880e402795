package opa

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/weft-mesh/weft/internal/wire"
)

// Where Envoy does not decide all of a rule, whom the rest of the rule may be about gets further, and OPA is asked:
//
//	what Envoy decides of a level ─→ sure: it lets in anyway        ┐
//	what is left of rules that allow ─→ let on, unless sure         ├→ a Gate ─→ a Question, of whole modules
//	what is left of rules that deny ──→ in doubt, though it is sure ┘
//
// So OPA is asked of few requests and answers all of what the modules mean. Who gets no answer is refused.

// Module is one that OPA is asked whole of requests to some destination.
type Module struct {
	Policy  string   `json:"policy"` // namespace/name
	Text    string   `json:"text"`
	Written bool     `json:"written,omitempty"` // by people, as a raw module
	To      Receiver `json:"to"`                // as far as it asks for that

	reads []attribute // of which the shape must be plain
}

// maxAsked is how long a Module may be, in bytes: it goes with every question.
const maxAsked = 32 << 10

// asked is the Module that is asked for what Envoy does not decide of a source; nil if it is too long to be.
func (s source) asked(policy string, d Destination) *Module {
	if len(s.text) > maxAsked {
		return nil
	}
	return &Module{
		Policy: policy, Text: s.text, Written: s.raw, reads: s.reads,
		To: Receiver{Namespace: d.Namespace, ServiceAccount: d.ServiceAccount, Labels: d.Labels},
	}
}

// shapely are the attributes that modules refer to of which requests can be of more shapes than one, for who reads them.
func shapely(c *ast.Compiler) (out []attribute) {
	add := func(a attribute) {
		if !slices.ContainsFunc(out, a.is) {
			out = append(out, a)
		}
	}
	for _, m := range c.Modules {
		ast.WalkRefs(m, func(r ast.Ref) bool {
			if !r.HasPrefix(ast.InputRootRef) {
				return false
			}
			words := writtenOut(r[1:])
			switch whole := len(words) == 1 && words[0] == "request"; {
			case len(words) == 0 || words[0] != "request":
			case whole:
				add(path)
				add(host)
			case words[1] == "path" || words[1] == "segments":
				add(path)
			case words[1] == "host":
				add(host)
			case words[1] == "headers" && len(words) > 2:
				add(header(words[2]))
			}
			return false
		})
	}
	return out
}

// Question is what OPA is asked of a request that Envoy does not decide on.
type Question struct {
	Gateway bool         `json:"gateway,omitempty"` // callers' certificates say nothing
	Levels  []AskedLevel `json:"levels"`
}

// AskedLevel are the modules of one level that something is left of. None may deny.
type AskedLevel struct {
	// Claims is the key of the verified claims that they go by; "": they have none.
	Claims string `json:"claims,omitempty"`
	// Says is the name under which Envoy says whether it lets in by the level anyway; otherwise one of the modules must
	// allow. "": Envoy has seen to it.
	Says    string    `json:"says,omitempty"`
	Modules []*Module `json:"modules"`
}

// Text is a Question as proxies have it.
func (q Question) Text() string {
	text, err := json.Marshal(q)
	if err != nil {
		panic(err) // it is plain data
	}
	return string(text)
}

// ReadQuestion is the other way.
func ReadQuestion(text string) (q Question, err error) {
	if err := json.Unmarshal([]byte(text), &q); err != nil {
		return q, fmt.Errorf("read the question: %w", err)
	}
	if len(q.Levels) == 0 || slices.ContainsFunc(q.Levels, func(l AskedLevel) bool { return len(l.Modules) == 0 || slices.Contains(l.Modules, nil) }) {
		return q, errors.New("the question asks nothing")
	}
	return q, nil
}

// Gate finds out which of the requests that have passed the filters OPA is asked about.
type Gate struct {
	// Doubt denies, if it were enforced, those that a rule may deny of which something is left. nil: there is none.
	Doubt *rbacv3.RBAC
	// Sure allows, if it were enforced, those that need not be asked about. It goes by what Doubt, and each Filter with
	// Sure, have said before.
	Sure     *rbacv3.RBAC
	Question Question
}

// What a Gate says of requests is in their metadata: under SaysSure is "denied" of whom OPA is to be asked about.
const (
	SaysDoubt = "weft_doubt"
	SaysSure  = "weft_sure"
)

// gate is a Gate that is being built.
type gate struct {
	levels []AskedLevel
	doubt  filter
}

// ask has a rule of a level, of which something is left, asked about.
func (g *gate) ask(level int, l Level, r Rule) *AskedLevel {
	for len(g.levels) <= level {
		g.levels = append(g.levels, AskedLevel{})
	}
	at := &g.levels[level]
	at.Claims = l.Claims
	if !slices.Contains(at.Modules, r.module) {
		at.Modules = append(at.Modules, r.module)
	}
	if !r.Deny {
		at.Says = fmt.Sprint("weft_level_", level)
	}
	return at
}

// reads says whether a rule asks for an attribute, or OPA for it.
func (r Rule) reads(which func(attribute) bool) bool {
	return r.is.reads(which) || r.Asked() && slices.ContainsFunc(r.module.reads, which)
}

// reads are the attributes that modules ask for.
func (g *gate) reads() (out []attribute) {
	for _, l := range g.levels {
		for _, m := range l.Modules {
			out = append(out, m.reads...)
		}
	}
	return out
}

// finished is the Gate; nil: nobody is asked about anything.
func (g *gate) finished(gateway bool) *Gate {
	if len(g.levels) == 0 {
		return nil
	}
	out, all := &Gate{Question: Question{Gateway: gateway}}, &rbacv3.Principal_Set{}
	for _, l := range g.levels {
		if l.Says != "" {
			all.Ids = append(all.Ids, saysAllowed(l.Says))
		}
		if len(l.Modules) > 0 {
			out.Question.Levels = append(out.Question.Levels, l)
		}
	}
	if len(g.doubt.entries) > 0 {
		out.Doubt = g.doubt.rbac()
		all.Ids = append(all.Ids, &rbacv3.Principal{Identifier: &rbacv3.Principal_NotId{NotId: wire.Said(wire.Result(SaysDoubt), "denied")}})
	}
	out.Sure = &rbacv3.RBAC{Policies: map[string]*rbacv3.Policy{SaysSure: {
		Permissions: []*rbacv3.Permission{anything()},
		Principals:  []*rbacv3.Principal{{Identifier: &rbacv3.Principal_AndIds{AndIds: all}}},
	}}}
	return out
}

// saysAllowed is true of requests of which a filter that refuses nothing has said, under a name, that it allows them.
func saysAllowed(name string) *rbacv3.Principal { return wire.Said(wire.Result(name), "allowed") }
