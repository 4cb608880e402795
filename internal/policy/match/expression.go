package match

import (
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/env"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/parser"

	"github.com/weft-mesh/weft/internal/re2"
)

// What an expression may speak of. The names of request's are Envoy's own; of callers it has none.
const (
	namespaceVariable = "caller.namespace"
	accountVariable   = "caller.serviceAccount"
	regionVariable    = "caller.region"
	zoneVariable      = "caller.zone"
)

var texts = []string{
	"request.method", "request.scheme", "request.host", "request.url_path", "request.path", "request.query",
	"request.protocol", "request.id", "request.referer", "request.useragent",
	namespaceVariable, accountVariable, regionVariable, zoneVariable,
}

// functions are what Envoy evaluates as the Go checker types it. What would fail in a proxy when it loads the
// expression, or whenever it evaluates it, such as + of strings, is not there.
var functions = map[string][]string{
	operators.LogicalAnd:  {overloads.LogicalAnd},
	operators.LogicalOr:   {overloads.LogicalOr},
	operators.LogicalNot:  {overloads.LogicalNot},
	operators.Conditional: {overloads.Conditional},
	operators.Equals:      {overloads.Equals},
	operators.NotEquals:   {overloads.NotEquals},

	operators.Less:          {overloads.LessInt64, overloads.LessString},
	operators.LessEquals:    {overloads.LessEqualsInt64, overloads.LessEqualsString},
	operators.Greater:       {overloads.GreaterInt64, overloads.GreaterString},
	operators.GreaterEquals: {overloads.GreaterEqualsInt64, overloads.GreaterEqualsString},

	operators.In:       {overloads.InList, overloads.InMap},
	operators.Index:    {overloads.IndexList, overloads.IndexMap},
	operators.Add:      {overloads.AddInt64},
	operators.Subtract: {overloads.SubtractInt64},
	operators.Multiply: {overloads.MultiplyInt64},
	operators.Divide:   {overloads.DivideInt64},
	operators.Negate:   {overloads.NegateInt64},

	overloads.Size:           {overloads.SizeString, overloads.SizeStringInst},
	overloads.Contains:       {overloads.ContainsString},
	overloads.StartsWith:     {overloads.StartsWithString},
	overloads.EndsWith:       {overloads.EndsWithString},
	overloads.Matches:        {overloads.MatchesString},
	overloads.TypeConvertInt: {overloads.StringToInt},

	overloads.TimeGetHours:     {overloads.TimestampToHours},
	overloads.TimeGetMinutes:   {overloads.TimestampToMinutes},
	overloads.TimeGetDayOfWeek: {overloads.TimestampToDayOfWeek},
}

// maxDepth is how deep expressions are within each other. Envoy's parser takes 32, with what stands for variables.
const maxDepth = 24

// language is compiled in once.
var language = sync.OnceValues(func() (*cel.Env, error) {
	subset := env.NewLibrarySubset().SetDisableMacros(true)
	for name, of := range functions {
		f := &env.Function{Name: name}
		for _, id := range of {
			f.Overloads = append(f.Overloads, &env.Overload{ID: id})
		}
		subset.AddIncludedFunctions(f)
	}
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(subset)),
		cel.Variable("request.headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("request.time", cel.TimestampType),
	}
	for _, name := range texts {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	return cel.NewCustomEnv(options...)
})

// compile is a CEL expression of which every proxy can tell whether it is true; "" and why not, if it is none.
func compile(text string) (checked *ast.AST, problem string) {
	l, err := language()
	if err != nil {
		return nil, err.Error()
	}
	compiled, issues := l.Compile(text)
	if all := issues.Errors(); len(all) > 0 {
		return nil, said(all[0].Location, all[0].Message)
	}
	checked = compiled.NativeRep()
	if t := compiled.OutputType(); t != cel.BoolType {
		return nil, fmt.Sprintf("is of type %s: compare it with something, for it must be true or false", t)
	}
	for _, e := range ast.MatchDescendants(ast.NavigateAST(checked), ast.AllMatcher()) {
		if wrong := unfit(e); wrong != "" && problem == "" {
			problem = said(checked.SourceInfo().GetStartLocation(e.ID()), wrong)
		}
	}
	return checked, problem
}

func said(at common.Location, what string) string {
	if at.Line() < 1 {
		return "is no expression that proxies know: " + what
	}
	return fmt.Sprintf("is no expression that proxies know, at line %d, column %d: %s", at.Line(), at.Column()+1, strings.TrimSuffix(what, " (in container '')"))
}

// unfit says why an expression that is well typed is nothing for a proxy.
func unfit(e ast.NavigableExpr) string {
	if e.Depth() > maxDepth {
		return fmt.Sprintf("it is more than %d levels deep: write it in several parts, by && and ||", maxDepth)
	}
	switch e.Kind() {
	case ast.MapKind, ast.StructKind, ast.ComprehensionKind:
		return "it makes a map or a message: compare with strings, integers or lists"
	case ast.CallKind:
		if e.AsCall().FunctionName() == overloads.Matches {
			return unfitPattern(e.AsCall())
		}
	}
	return ""
}

func unfitPattern(call ast.CallExpr) string {
	args := call.Args()
	pattern := args[len(args)-1]
	text, is := types.String(""), pattern.Kind() == ast.LiteralKind
	if is {
		text, is = pattern.AsLiteral().(types.String)
	}
	if !is {
		return "matches wants a literal pattern"
	}
	if err := re2.CheckShort(string(text)); err != nil {
		return fmt.Sprintf("the pattern is no regular expression of RE2: %v", err)
	}
	return ""
}

// speaksOf says whether an expression has some of those variables in it.
func speaksOf(checked *ast.AST, variables ...string) (does bool) {
	ast.PreOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		for _, v := range variables {
			does = does || e.Kind() == ast.IdentKind && e.AsIdent() == v
		}
	}))
	return does
}

// written is an expression as Envoy takes it between the signs of a format, with what stands for some variables.
func written(checked *ast.AST, instead map[string]ast.Expr) (string, error) {
	whole := ast.Copy(checked)
	ast.PostOrderVisit(whole.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if by := instead[identifier(e)]; by != nil {
			e.SetKindCase(by)
		}
	}))
	text, err := parser.Unparse(whole.Expr(), whole.SourceInfo(), parser.WrapOnColumn(1<<20)) // a format has no line breaks
	// The sign stands in strings only, for the language has no operator of it.
	return strings.ReplaceAll(text, "%", `\x25`), err
}

func identifier(e ast.Expr) string {
	if e.Kind() != ast.IdentKind {
		return ""
	}
	return e.AsIdent()
}
