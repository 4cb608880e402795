package core

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/cluster"
)

// word is a type or a reason of a condition of one thing: a Gateway, a Listener, a Route, …
type word struct{ of, text string }

// TestReasons: what Gateway API has a word for, some story says, or Weft has a reason not to; and of
// its kinds stories say nothing that it has no word for.
func TestReasons(t *testing.T) {
	known, told := constants(t), tellings(t)
	for w, names := range known {
		why, excused := unsaid[w]
		switch {
		case !told[w] && !excused:
			t.Errorf("no story says %s of a %s (%s)", w.text, w.of, strings.Join(names, ", "))
		case told[w] && excused:
			t.Errorf("a story says %s of a %s, which is listed as never said: %s", w.text, w.of, why)
		}
	}
	for w := range unsaid {
		if known[w] == nil {
			t.Errorf("%s of a %s is listed as never said, and Gateway API has no such word", w.text, w.of)
		}
	}
	for w := range told {
		if known[w] == nil && !ours[w] {
			t.Errorf("a story says %s of a %s: Gateway API has no such word", w.text, w.of)
		}
	}
	t.Logf("Gateway API has %d words; %d are never said", len(known), len(unsaid))
}

// TestAnotherGatewayAPI: where the CRDs are of another version than Weft's, its class says so, and is
// served.
func TestAnotherGatewayAPI(t *testing.T) {
	w := newWorld(t)
	cluster.Put(w.core.Inbox(), w.core.Tables().Bundles, gwv1.GroupName, cluster.Bundle{Version: "v0.1.0"})
	said := w.apply([]byte("{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: weft}, spec: {controllerName: mesh.weft.dev/gateway-controller}}"))
	for _, want := range []string{"Accepted=True Accepted", "SupportedVersion=False UnsupportedVersion"} {
		if !strings.Contains(said, want) {
			t.Errorf("it is not said that %s:\n%s", want, said)
		}
	}
}

// owner is whose condition a type of the constants is about: GatewayConditionReason.
var owner = regexp.MustCompile(`^(\w+?)Condition(Type|Reason)$`)

// constants are the words of Gateway API, from its source, and the names that it has for each.
func constants(t *testing.T) map[word][]string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "apis", "v1", "*_types.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of Gateway API's types: %v", len(files), err)
	}
	all := map[word][]string{}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, is := n.(*ast.ValueSpec); is {
				wordsOf(t, spec, all)
			}
			return true
		})
	}
	return all
}

func wordsOf(t *testing.T, spec *ast.ValueSpec, all map[word][]string) {
	t.Helper()
	kind, is := spec.Type.(*ast.Ident)
	if !is {
		return
	}
	whose := owner.FindStringSubmatch(kind.Name)
	if whose == nil {
		return
	}
	for i, name := range spec.Names {
		text, err := strconv.Unquote(spec.Values[i].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		w := word{whose[1], text}
		all[w] = append(all[w], name.Name)
	}
}

var (
	subject   = regexp.MustCompile(`^. status (\w+) `)
	condition = regexp.MustCompile(`^ {2}[-+ ] (?:(.*?) )?(\w+)=(?:True|False|Unknown) (\w+):`)
)

// things are what the conditions of a kind's status are about: of the object, or of a part of it.
var things = map[string][2]string{
	"GatewayClass": {"GatewayClass"}, "Gateway": {"Gateway", "Listener"}, "ListenerSet": {"ListenerSet", "ListenerEntry"},
	"HTTPRoute": {"", "Route"}, "GRPCRoute": {"", "Route"}, "TLSRoute": {"", "Route"}, "TCPRoute": {"", "Route"}, "UDPRoute": {"", "Route"},
	"BackendTLSPolicy": {"", "Policy"},
}

// tellings are the words that stories say of Gateway API's kinds.
func tellings(t *testing.T) map[word]bool {
	t.Helper()
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	all := map[word]bool{}
	for _, path := range stories {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range txtar.Parse(text).Files {
			if strings.HasSuffix(file.Name, ".out") {
				tellingsIn(string(file.Data), all)
			}
		}
	}
	return all
}

func tellingsIn(out string, all map[word]bool) {
	var of [2]string
	for line := range strings.Lines(out) {
		if s := subject.FindStringSubmatch(line); s != nil {
			of = things[s[1]]
			continue
		}
		if !strings.HasPrefix(line, " ") {
			of = [2]string{}
			continue
		}
		c := condition.FindStringSubmatch(line)
		if c == nil {
			continue
		}
		about := of[0]
		if c[1] != "" {
			about = of[1]
		}
		if about != "" {
			all[word{about, c[2]}], all[word{about, c[3]}] = true, true
		}
	}
}

// Why words of Gateway API are never said.
const (
	deprecated = "it is deprecated, for a word that is said"
	reserved   = "it is reserved: no implementation can promise what it means"
	decided    = "Weft says nothing of an object before it has decided, which takes one commit"
	specific   = "what there is to say has a more specific word, which is said"
)

// unsaid are Gateway API's words that Weft never says, and why.
var unsaid = map[word]string{
	{"GatewayClass", "Waiting"}:             deprecated,
	{"Gateway", "NotReconciled"}:            deprecated,
	{"Gateway", "Scheduled"}:                deprecated,
	{"Listener", "Attached"}:                deprecated,
	{"Listener", "Detached"}:                deprecated,
	{"Gateway", "Ready"}:                    reserved,
	{"Gateway", "ListenersNotReady"}:        reserved,
	{"Listener", "Ready"}:                   reserved,
	{"ListenerEntry", "Ready"}:              reserved,
	{"GatewayClass", "Pending"}:             decided,
	{"Listener", "Pending"}:                 decided,
	{"ListenerEntry", "Pending"}:            decided,
	{"ListenerSet", "Pending"}:              decided,
	{"Route", "Pending"}:                    decided,
	{"ListenerSet", "Invalid"}:              specific,
	{"ListenerEntry", "ListenerConflict"}:   specific,
	{"Listener", "UnsupportedValue"}:        "a value that is not known is a protocol, a kind of routes or a mode, which have words of their own, or refused by the CRD",
	{"Gateway", "NoResources"}:              "Kubernetes has no such answer: a proxy that finds no node is Pending",
	{"GatewayClass", "Unsupported"}:         "every GatewayClass of Weft's controller is served",
	{"GatewayClass", "UnsupportedVersion"}:  "stories have no CRDs: TestAnotherGatewayAPI shows it",
	{"Listener", "OverlappingCertificates"}: "it is optional; that hostnames overlap is said",
	{"ListenerEntry", "TooManyListeners"}:   "a Gateway takes any number of listeners",
}

// ours are words of Weft's own, of Gateway API's kinds.
var ours = map[word]bool{
	{"Route", "Conflicted"}:                      true, // another route has the same match: CRDs of Gateway API know this of policies
	{"Route", "NotEnforced"}:                     true,
	{"ListenerSet", "ParentNotFound"}:            true,
	{"ListenerSet", "ParentNotProgrammed"}:       true,
	{"ListenerEntry", "NoConflicts"}:             true, // the rest is what a Listener of a Gateway has
	{"ListenerEntry", "InvalidCACertificateRef"}: true,
	{"ListenerEntry", "NoValidCACertificate"}:    true,
	{"ListenerEntry", "OverlappingTLSConfig"}:    true,
	{"ListenerEntry", "OverlappingHostnames"}:    true,
}
