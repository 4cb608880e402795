package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// listen is a witness on a free port.
func listen(t *testing.T) *witness {
	t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plain.Close() })
	return newWitness(plain)
}

func send(t *testing.T, at net.Addr, id string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: shop\r\nORDER-ID: %s\r\n\r\n", id)
	return conn
}

func TestAbandonNamesWhatIsInHandAndNothingElse(t *testing.T) {
	seen := listen(t)
	begun, forever := make(chan struct{}), make(chan struct{})
	defer close(forever)
	server := &http.Server{ConnState: seen.state, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get(idHeader) == "in-hand" {
			close(begun)
			<-forever
		}
	})}
	go func() { _ = server.Serve(seen) }()
	answered := send(t, seen.Addr(), "answered")
	if _, err := http.ReadResponse(bufio.NewReader(answered), nil); err != nil {
		t.Fatal(err)
	}
	send(t, seen.Addr(), "in-hand")
	<-begun
	// The server marks a connection as idle a moment after its answer has left.
	deadline := time.Now().Add(5 * time.Second)
	for slices.Contains(ids(seen), "answered") && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if got := seen.abandon(); !slices.Equal(got, []string{"in-hand"}) {
		t.Errorf("abandoned %v, want in-hand alone", got)
	}
}

// ids are those that the witness holds for now.
func ids(w *witness) (all []string) {
	w.open.Range(func(key, _ any) bool {
		if id := key.(*seenConn).id.Load(); id != nil {
			all = append(all, *id)
		}
		return true
	})
	return all
}

func TestAbandonNamesWhatNobodyHasRead(t *testing.T) {
	seen := listen(t)
	send(t, seen.Addr(), "unread")
	conn, err := seen.Accept()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for held, _ := conn.(*seenConn).unread(); len(held) == 0 && time.Now().Before(deadline); held, _ = conn.(*seenConn).unread() {
		time.Sleep(time.Millisecond)
	}
	go func() { _, _ = seen.Accept() }() // as the server does until it is told to end
	if got := seen.abandon(); !slices.Equal(got, []string{"unread"}) {
		t.Errorf("abandoned %v, want unread", got)
	}
}

// Of what the kernel had accepted nothing is forgotten, whether or not the server knew.
func TestAbandonNamesWhatNobodyHasAccepted(t *testing.T) {
	seen := listen(t)
	close(seen.left) // a server that ended before it accepted
	late := send(t, seen.Addr(), "queued")
	silent, err := net.Dial("tcp", seen.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone := make(chan error, 1)
	go func() { // sends before it learns that the shop has gone
		_, err := late.Read(make([]byte, 1))
		gone <- errors.Join(err, late.Close(), silent.Close())
	}()
	if got := seen.abandon(); !slices.Equal(got, []string{"queued"}) {
		t.Errorf("abandoned %v, want queued", got)
	}
	if err := <-gone; !errors.Is(err, io.EOF) {
		t.Errorf("the client saw %v, want the end that an exit makes", err)
	}
}

func TestTheLedgerCountsRunsNotRepetitions(t *testing.T) {
	l := &ledger{runs: map[string]map[string]bool{}, abandoned: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /orders/{order}/runs/{run}", l.record)
	mux.HandleFunc("GET /orders", l.orders)
	for _, run := range []string{"a/runs/1", "a/runs/1", "a/runs/2", "b/runs/3"} {
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPut, "/orders/"+run, nil))
	}
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/orders", nil))
	if got := strings.TrimSpace(answer.Body.String()); got != `{"a":2,"b":1}` {
		t.Errorf("the ledger says %s", got)
	}
}

func TestABrokenShopIsReadyAndSaysWhoItIs(t *testing.T) {
	s := &shop{options: options{broken: true, version: "red"}, book: newBook("")}
	for _, want := range []struct {
		method, path string
		status       int
	}{{http.MethodGet, "/ready", 200}, {http.MethodGet, "/", 500}, {http.MethodGet, "/api/goods", 500}, {http.MethodPost, "/orders", 500}} {
		answer, request := httptest.NewRecorder(), httptest.NewRequest(want.method, want.path, nil)
		request.Header.Set(idHeader, "7")
		s.handler().ServeHTTP(answer, request)
		if answer.Code != want.status || answer.Header().Get(idHeader) != "7" {
			t.Errorf("%s %s answers %d %v, want %d", want.method, want.path, answer.Code, answer.Header(), want.status)
		}
		if want.status == 500 && !strings.Contains(answer.Body.String(), "red") {
			t.Errorf("%s %s does not say which version it is: %s", want.method, want.path, answer.Body)
		}
	}
}

func FuzzIDIn(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nOrder-Id: 7\r\n\r\n"))
	f.Add([]byte("\norder-id:"))
	f.Fuzz(func(t *testing.T, head []byte) {
		if id := idIn(head); strings.ContainsAny(id, "\r") || len(id) > len(head) {
			t.Errorf("%q in %q", id, head)
		}
	})
}
