package load_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/load"
)

// orders answers like the shop and counts each id.
type orders struct {
	seen sync.Map
	each func(w http.ResponseWriter, r *http.Request, n int64)
	n    atomic.Int64
}

func (o *orders) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(load.IDHeader)
	times, _ := o.seen.LoadOrStore(id, new(atomic.Int64))
	times.(*atomic.Int64).Add(1)
	w.Header().Set(load.IDHeader, id)
	if o.each != nil {
		o.each(w, r, o.n.Add(1))
	}
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusCreated)
	}
}

func (o *orders) mostSeen() (most int64) {
	o.seen.Range(func(_, times any) bool {
		most = max(most, times.(*atomic.Int64).Load())
		return true
	})
	return most
}

// hold runs load of 500 requests per second until at least n have ended.
func hold(t *testing.T, target load.Target, n int) []load.Result {
	t.Helper()
	return holdAt(t, 500, target, n)
}

func holdAt(t *testing.T, rate int, target load.Target, n int) []load.Result {
	t.Helper()
	l := load.Start(target, rate)
	deadline := time.Now().Add(20 * time.Second)
	for l.Sent() < n && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	return l.Stop()
}

func TestAHealthyServerIsAnsweredInFull(t *testing.T) {
	handler := new(orders)
	server := httptest.NewServer(handler)
	defer server.Close()
	results := hold(t, load.Target{Address: address(server), Host: "shop.test"}, 400)
	for _, r := range load.Failures(results, nil) {
		t.Errorf("%s %s failed: %s", r.Method, r.ID, r.Failed)
	}
	if most := handler.mostSeen(); most != 1 {
		t.Errorf("a request arrived %d times", most)
	}
}

func TestTLSIsSpoken(t *testing.T) {
	server := httptest.NewTLSServer(new(orders))
	defer server.Close()
	secure := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	secure.ServerName = "example.com"
	// Slowly: where other tests keep the machine busy, each handshake takes long, and more would pile up.
	results := holdAt(t, 25, load.Target{Address: address(server), Host: "example.com", TLS: secure}, 50)
	for _, r := range load.Failures(results, nil) {
		t.Errorf("%s %s failed: %s", r.Method, r.ID, r.Failed)
	}
}

func TestAConnectionThatTheServerClosesIsLeftWithoutFailure(t *testing.T) {
	handler := &orders{each: func(w http.ResponseWriter, _ *http.Request, n int64) {
		if n%7 == 0 {
			w.Header().Set("Connection", "close")
		}
	}}
	server := httptest.NewServer(handler)
	defer server.Close()
	results := hold(t, load.Target{Address: address(server), Host: "shop.test"}, 400)
	for _, r := range load.Failures(results, nil) {
		t.Errorf("%s %s failed: %s", r.Method, r.ID, r.Failed)
	}
}

func TestABrokenAnswerIsAFailureAndNeverSentAgain(t *testing.T) {
	handler := &orders{each: func(_ http.ResponseWriter, _ *http.Request, n int64) {
		if n%10 == 0 {
			panic(http.ErrAbortHandler)
		}
	}}
	server := httptest.NewServer(handler)
	defer server.Close()
	results := hold(t, load.Target{Address: address(server), Host: "shop.test"}, 400)
	failed := load.Failures(results, nil)
	if want := len(results) / 10; len(failed) != want {
		t.Errorf("%d of %d failed, want %d", len(failed), len(results), want)
	}
	if most := handler.mostSeen(); most != 1 {
		t.Errorf("a request arrived %d times", most)
	}
}

func TestNobodyListeningFailsEveryRequest(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	results := hold(t, load.Target{Address: listener.Addr().String(), Host: "shop.test"}, 20)
	if failed := load.Failures(results, nil); len(failed) != len(results) {
		t.Errorf("%d of %d failed, want all", len(failed), len(results))
	}
}

func TestTheTableListsAbandonedRequestsApart(t *testing.T) {
	results := []load.Result{
		{ID: "a", Step: "calm"},
		{ID: "b", Step: "roll", Failed: "status 503"},
		{ID: "c", Step: "roll", Failed: "status 503"},
	}
	table := load.Table(results, map[string]bool{"c": true})
	if got := table[1]; got.Failed != 1 || got.Abandoned != 1 || got.Sent != 2 {
		t.Errorf("step roll: %+v", got)
	}
	if text := load.Print(table); !strings.Contains(text, "all") {
		t.Errorf("no sums in:\n%s", text)
	}
}

func address(server *httptest.Server) string { return server.Listener.Addr().String() }
