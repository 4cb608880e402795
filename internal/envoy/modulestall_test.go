package envoy_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/policy/room"
)

// TestModuleStalls tells for how long a thread of a proxy, and its main thread, do nothing else while a module of
// 1.9 MB is compiled and started. It measures, and needs a machine for itself: docs/figures.md has what it told.
func TestModuleStalls(t *testing.T) {
	if os.Getenv("WEFT_LONG") != "1" {
		t.Skip("WEFT_LONG=1 is not set")
	}
	m := modular{startLingering(t), map[string]room.Decided{}}
	m.decide(t, "/there", "["+aModule("a", "{}")+"]")
	listener, host := m.entered(t, m.port)
	commit(m.store, listener, m.filters(), host)
	eventually(t, "it runs", func() bool { _, got := m.meets(t, "/there", ""); return got.Header.Get("x-wasm") == "ran{}" })
	worker, main := slowest(t, m.url+"/none"), slowest(t, m.admin+"/ready")
	for _, what := range []string{"configuration", "module"} {
		var workers, mains []time.Duration
		for i := range 10 {
			m.decide(t, "/there", "["+aModule("a", fmt.Sprintf("{%s: %d}", what, i))+"]")
			if what == "module" { // with a section that means nothing
				d := m.policies["/there"]
				d.Referents = []room.Referent{{Text: module(t) + "\x00\x02\x01" + string(rune('a'+i))}}
				m.policies["/there"] = d
			}
			worker.Store(0)
			main.Store(0)
			commit(m.store, m.filters())
			m.settled(t, 0)
			time.Sleep(500 * time.Millisecond) // until threads have started it
			workers = append(workers, time.Duration(worker.Load()).Round(time.Millisecond))
			mains = append(mains, time.Duration(main.Load()).Round(time.Millisecond))
		}
		slices.Sort(workers)
		slices.Sort(mains)
		t.Logf("another %s: the longest answer of a thread took %v, of the main thread %v", what, workers, mains)
	}
}

// slowest asks over and over again. It tells how long one answer took at most.
func slowest(t *testing.T, url string) *atomic.Int64 {
	t.Helper()
	var out atomic.Int64
	go func() {
		for t.Context().Err() == nil {
			begun := time.Now()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			if err != nil {
				return
			}
			if response, err := http.DefaultClient.Do(request); err == nil {
				_, _ = io.Copy(io.Discard, response.Body) // what it says does not matter
				_ = response.Body.Close()
			}
			out.Store(max(out.Load(), int64(time.Since(begun))))
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return &out
}
