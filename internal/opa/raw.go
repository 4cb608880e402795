package opa

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A raw module is one that people write in Rego themselves, over the same Input:
//
//	text → read: is it of our package, without the traps? → OPA compiles it, by the schema of the Input
//	     → a Rule for each way in which allow or deny holds
//
// ModuleSuffix ends the keys of such modules, and MaxModule is how long one may be, in bytes.
const (
	ModuleSuffix = ".rego"
	MaxModule    = 64 << 10
)

// rawPackage has the version of the Input in it.
const rawPackage = "weft.v1"

// The rules of a raw module, as logs and statuses call them.
const (
	rawAllow = "rego/allow"
	rawDeny  = "rego/deny"
)

// Raw says whether it is of a module.
func (r Rule) Raw() bool { return r.Short() == rawAllow || r.Short() == rawDeny }

// Text is one that may be missing.
type Text struct {
	Text    string
	Problem string // why it is missing; "": it is not
}

// CheckModule says what keeps a text from being a module; "": nothing.
func CheckModule(text string) string {
	if _, err := raw(text); err != nil {
		return err.Error()
	}
	return ""
}

// raw reads and compiles a module.
func raw(text string) (*ast.Compiler, error) {
	m, err := readModule(text)
	if err != nil {
		return nil, err
	}
	return compiled(m, inputSchema())
}

// compiled is a module that may do no more than what it may call, by a schema of what it reads; nil: by none.
func compiled(m *ast.Module, by *ast.SchemaSet) (*ast.Compiler, error) {
	c := ast.NewCompiler().WithCapabilities(capabilities).WithSchemas(by)
	if c.Compile(map[string]*ast.Module{"": m}); c.Failed() {
		return nil, located(c.Errors)
	}
	return c, nil
}

func readModule(text string) (*ast.Module, error) {
	if len(text) > MaxModule {
		return nil, fmt.Errorf("has more than %d bytes: split it", MaxModule)
	}
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("is empty: write a module of package " + rawPackage)
	}
	m, err := ast.ParseModuleWithOpts("", text, ast.ParserOptions{Capabilities: capabilities})
	switch {
	case err != nil:
		return nil, located(err)
	case m.Package.Path.String() != "data."+rawPackage:
		return nil, at(m.Package.Location, "package %s: write package %s, after the version of the input that it reads", strings.TrimPrefix(m.Package.Path.String(), "data."), rawPackage)
	case len(m.Imports) > 0 && slices.ContainsFunc(m.Imports, foreign):
		return nil, at(m.Imports[slices.IndexFunc(m.Imports, foreign)].Location, "there is nothing to import: a module stands alone")
	}
	return m, lint(m)
}

// foreign says whether an import is one of another module, or of a document.
func foreign(i *ast.Import) bool {
	ref, is := i.Path.Value.(ast.Ref)
	return !is || ref.HasPrefix(ast.DefaultRootRef)
}

// located is the first of OPA's errors, with its line.
func located(err error) error {
	var all ast.Errors
	if !errors.As(err, &all) || len(all) == 0 {
		return fmt.Errorf("cannot be compiled: %w", err)
	}
	first := all[0]
	what := first.Message
	if first.Code == ast.TypeErr && strings.HasPrefix(what, "undefined function ") {
		what += ": a module may call OPA's functions that compare and take apart, and none else"
	}
	return at(first.Location, "%s", strings.Join(strings.Fields(what), " "))
}

func at(l *ast.Location, format string, args ...any) error {
	if l == nil {
		return fmt.Errorf(format, args...)
	}
	return fmt.Errorf("has a mistake in line %d: %w", l.Row, fmt.Errorf(format, args...))
}

// read adds to a Compiled what the module of a Policy says. Where there is none that can be read, all is denied: what it
// would have denied is not known.
func (c *Compiled) read(p Policy) {
	if p.Authorization == nil || p.Rego == nil {
		return
	}
	text, compiler, err := p.raw()
	if err != nil {
		c.shut, c.Problems = p.Key+"/"+rawDeny, append(c.Problems, Problem{Field: rawField, What: err.Error(), Awaited: true})
		return
	}
	out := source{compiler: compiler, raw: true, text: text, reads: shapely(compiler), rules: []Rule{{Name: p.Key + "/" + rawAllow}, {Name: p.Key + "/" + rawDeny, Deny: true}}}
	out.refs = []ast.Ref{regoRef(rawPackage, "allow"), regoRef(rawPackage, "deny")}
	for _, name := range trueOrNot(compiler.Modules[""]) {
		if name != "allow" && name != "deny" {
			out.kept = append(out.kept, regoRef(rawPackage, name))
		}
	}
	c.sources = append(c.sources, out)
}

// trueOrNot are the rules that are nothing but true where they hold: that of these, one that is negated stays apart from
// what it asks for, tells what is missing from what is otherwise.
func trueOrNot(m *ast.Module) (out []string) {
	other := map[string]bool{}
	for _, r := range m.Rules {
		value, is := valueOf(r).(ast.Boolean)
		if len(r.Head.Args) > 0 || r.Head.Key != nil || len(r.Head.Ref()) > 1 || !is || bool(value) == r.Default {
			other[ruleOf(r)] = true
		}
	}
	for _, r := range m.Rules {
		if name := ruleOf(r); !other[name] {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// raw is the module of a Policy that has one.
func (p Policy) raw() (string, *ast.Compiler, error) {
	if p.Modules == nil {
		return "", nil, errors.New("there are no modules")
	}
	found := p.Modules(*p.Rego)
	if found.Problem != "" {
		return "", nil, errors.New(found.Problem)
	}
	compiler, err := raw(found.Text)
	return found.Text, compiler, err
}
