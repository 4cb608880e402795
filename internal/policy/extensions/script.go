package extensions

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// MaxScript is how many bytes a script may have: each Route whose requests meet it has a copy.
const MaxScript = 16384

// guard runs a script in a sandbox, so that Envoy accepts it whatever it is.
//
//go:embed guard.lua
var guardText string

var guard = withoutComments(guardText)

func withoutComments(script string) string {
	var out strings.Builder
	for line := range strings.Lines(script) {
		if !strings.HasPrefix(line, "--") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// check says what is wrong with a script, by Lua 5.1. Where LuaJIT, which proxies have, takes one for wrong that
// is right by that, its guard does what failOpen says.
func check(text string) (problem string) {
	defer func() {
		if recover() != nil { // the parser gave up
			problem = "is no Lua that can be read"
		}
	}()
	if len(text) > MaxScript {
		return fmt.Sprintf("has more than %d bytes: make it shorter, or use extProc", MaxScript)
	}
	chunk, err := parse.Parse(strings.NewReader(text), "script")
	if err == nil {
		_, err = lua.Compile(chunk, "script")
	}
	if err != nil {
		return "is no Lua: " + told(err)
	}
	for _, s := range chunk {
		if defines(s) {
			return ""
		}
	}
	return "does nothing: define the global function envoy_on_request(handle) or envoy_on_response(handle) in it, outside of all blocks"
}

// told is where and what an error is, in one line.
func told(err error) string {
	if e, is := err.(*parse.Error); is {
		if e.Pos.Line == parse.EOF {
			return "at its end: " + e.Message
		}
		return fmt.Sprintf("line %d, at %q: %s", e.Pos.Line, e.Token, e.Message)
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// defines says whether a statement defines one of the functions that Envoy calls.
func defines(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.FuncDefStmt:
		return s.Name.Receiver == nil && called(s.Name.Func)
	case *ast.AssignStmt:
		for _, to := range s.Lhs {
			if called(to) {
				return true
			}
		}
	}
	return false
}

func called(e ast.Expr) bool {
	name, is := e.(*ast.IdentExpr)
	return is && (name.Value == "envoy_on_request" || name.Value == "envoy_on_response")
}

// guarded is the filter of a script. A proxy has one interpreter, per thread, for all Routes of a policy that
// have the same. Alone says that the policy has no other extension.
func guarded(policy string, e v1alpha1.Extension, text string, alone bool) *luav3.Lua {
	head := fmt.Sprintf("local NAME, FAIL_OPEN, ALONE, SCRIPT = %s, %t, %t, %s\n", quoted(policy+" "+e.Name), e.FailOpen, alone, quoted(text))
	return &luav3.Lua{
		DefaultSourceCode: inline(head + guard),
		ClearRouteCache:   wrapperspb.Bool(false), // other filters have looked at the request as one of its route
		SharedVmId:        policy,
		StatPrefix:        policy + "/" + e.Name,
	}
}

// quoted is a text as Lua has it between quotes.
func quoted(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, b := range []byte(s) {
		switch {
		case b == '\n':
			out.WriteString(`\n`)
		case b == '"' || b == '\\' || b < ' ' || b > '~':
			out.WriteString(`\` + fmt.Sprintf("%03s", strconv.Itoa(int(b))))
		default:
			out.WriteByte(b)
		}
	}
	out.WriteByte('"')
	return out.String()
}
