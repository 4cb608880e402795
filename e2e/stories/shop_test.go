// Package stories tells what a user sees, on a real cluster with real Envoys.
//
// WEFT_LONG=1 plays them at full length; without it they are shorter, with the same steps.
package stories

import (
	"embed"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/e2e/load"
	"github.com/weft-mesh/weft/e2e/stage"
)

//go:embed testdata
var testdata embed.FS

// manifest reads a file of testdata and fills in its $WORDS, given as word, value, word, value, …
func manifest(t testing.TB, file string, words ...string) string {
	t.Helper()
	text, err := testdata.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(words...).Replace(string(text))
}

// work is how long a shop takes for an order. One that exits at once takes longer, so that it always
// has orders in hand when it goes.
var work = map[string]string{"drain": "2ms", "exit": "50ms"}

// backend deploys a shop that does onTerm on SIGTERM.
func backend(t testing.TB, s *stage.Scene, name, onTerm, ledger string, replicas int) {
	t.Helper()
	s.Apply(manifest(t, "shop.yaml", "$NAME", name, "$ON_TERM", onTerm, "$LEDGER", ledger,
		"$REPLICAS", strconv.Itoa(replicas), "$WORK", work[onTerm]))
}

// ledger is the book of a scene, read past the Gateway under test.
type ledger struct {
	orders    map[string]int  // order → how often it ran
	abandoned map[string]bool // requests that an application had accepted before it ended itself
}

func readLedger(t testing.TB, s *stage.Scene) ledger {
	t.Helper()
	book := ledger{orders: map[string]int{}, abandoned: map[string]bool{}}
	read(t, s, "/orders", &book.orders)
	pods := map[string]string{}
	read(t, s, "/abandoned", &pods)
	for id := range pods {
		book.abandoned[id] = true
	}
	return book
}

func read(t testing.TB, s *stage.Scene, path string, into any) {
	t.Helper()
	services := s.Clients.CoreV1().Services(s.Namespace)
	body, err := services.ProxyGet("http", "ledger", "8080", path, nil).DoRaw(t.Context())
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		t.Fatalf("read %s of the ledger: %v", path, err)
	}
}

// check proves from the ledger that no order ran twice and no answered order is missing.
func (l ledger) check(t testing.TB, results []load.Result) {
	t.Helper()
	twice, missing := 0, 0
	for _, r := range results {
		if l.orders[r.ID] > 1 {
			twice++
			t.Errorf("order %s (%s) ran %d times", r.ID, r.Step, l.orders[r.ID])
		}
		if r.Method == "POST" && r.Failed == "" && l.orders[r.ID] == 0 {
			missing++
			t.Errorf("order %s (%s) was answered but never ran", r.ID, r.Step)
		}
	}
	t.Logf("the ledger holds %d orders; %d ran twice, %d answered orders are missing", len(l.orders), twice, missing)
}
