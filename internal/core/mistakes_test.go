package core

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// neighbours are objects that work, beside which mistakes are made.
const neighbours = "testdata/mistakes/neighbours.yaml"

// TestMistakes: what users get wrong, kind by kind. Each case is applied by itself beside the neighbours.
// Its output is what its objects are told and what is made of them all the same; nothing that the
// neighbours are given or told may change.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { confess(t, path) })
	}
}

func confess(t *testing.T, path string) {
	story, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := &txtar.Archive{Comment: story.Comment}
	for _, f := range story.Files {
		name, in := strings.CutSuffix(f.Name, ".yaml")
		if !in {
			continue
		}
		told := mistake(t, name, f.Data)
		if strings.HasSuffix(name, " (told nowhere)") != (told == "") {
			t.Errorf("%s is told %q", name, told)
		}
		got.Files = append(got.Files, f, txtar.File{Name: name + ".out", Data: []byte(told)})
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want, is := txtar.Format(story), txtar.Format(got); !bytes.Equal(want, is) {
		t.Errorf("%s tells something else (accept it with -update):\n%s", path, difference(string(want), string(is)))
	}
}

// mistake applies the objects of a case, and returns what is told of them.
func mistake(t *testing.T, name string, objects []byte) string {
	w := newWorld(t)
	w.text = wholeText
	w.apply(must(os.ReadFile(neighbours)))
	before := maps.Clone(w.seen)
	w.apply(objects)
	var told, made []string
	for _, what := range slices.Sorted(maps.Keys(w.seen)) {
		was, had := before[what]
		switch {
		case w.seen[what] == was:
		case strings.HasPrefix(what, "status "):
			told = append(told, unhealthy(what, was, w.seen[what])...)
		case strings.HasPrefix(what, "ports of "):
		case hasModule(what, w.seen[what]): // which is disabled there but for the policy's own requests
		case had:
			t.Errorf("%s alters %s, which is a neighbour's", name, what)
		case !strings.HasPrefix(what, "scope "):
			made = append(made, "made: "+what+"\n")
		}
	}
	for what := range before {
		if _, has := w.seen[what]; !has {
			t.Errorf("%s takes %s away, which is a neighbour's", name, what)
		}
	}
	if len(told) == 0 {
		return ""
	}
	return strings.Join(append(told, made...), "")
}

// healthy is what is told of an object that nothing is wrong with.
var healthy = regexp.MustCompile(`(Accepted=True Accepted|ResolvedRefs=True ResolvedRefs|Programmed=True Programmed|Conflicted=False NoConflicts|SupportedVersion=True SupportedVersion): (` +
	`|The route is served\.|All references were resolved\.|Weft serves .*|All that it names is there\.|\d+ of \d+ rules are found\.|All of it can be used\.|Of the pods that .*|The split acts on (it|port \d+ of [^:]*)\.|The policy is about it\.|The proxies have the policy\.|The Gateway speaks TLS as the policy says\.|The Gateway API CRDs .*|Weft's sidecars serve the routes of Services\.)$` +
	`|(Accepted|Ready)=True Accepted: All of it can be used\.$|Accepted=True Accepted: It is enforced at the pods that run as the destination\.$|ResolvedRefs=True ResolvedRefs: All that the rules name is there and can be used\.$` +
	`|Pending: No proxy of|AddressNotAssigned: Service|: See Accepted\.$|attachedRoutes=|^proxies|^address |used by |takes [A-Za-z]+Route$|attachedListenerSets=|^(Mesh|HTTPRoute|GRPCRoute)[A-Za-z0-9]*$`)

// unhealthy are the lines of a status that its object had not before, and that something is wrong in; the
// first of those that say the same.
func unhealthy(what, was, now string) (out []string) {
	for line := range strings.Lines(now) {
		line = strings.TrimRight(line, "\n")
		_, message, _ := strings.Cut(line, ": ")
		again := slices.ContainsFunc(out, func(o string) bool { return strings.HasSuffix(o, ": "+message+"\n") })
		if !again && !healthy.MatchString(line) && !slices.Contains(strings.Split(was, "\n"), line) {
			out = append(out, fmt.Sprintf("%s: %s\n", strings.TrimPrefix(what, "status "), line))
		}
	}
	return out
}
