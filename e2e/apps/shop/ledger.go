package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// ledger counts how often each order ran, and keeps the last words of shops that exited.
type ledger struct {
	mu        sync.Mutex
	runs      map[string]map[string]bool // order → its runs
	abandoned map[string]string          // request → the pod that had accepted it
}

// keepLedger serves the ledger: orders by HTTP, last words as lines of "pod id" over TCP, because a
// line written to an open connection outlives the process that wrote it.
func keepLedger(orders, words string) error {
	l := &ledger{runs: map[string]map[string]bool{}, abandoned: map[string]string{}}
	listener, err := net.Listen("tcp", words)
	if err != nil {
		return err
	}
	go l.listen(listener)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("PUT /orders/{order}/runs/{run}", l.record)
	mux.HandleFunc("GET /orders", l.orders)
	mux.HandleFunc("GET /abandoned", l.lost)
	server := &http.Server{Addr: orders, Handler: mux, ReadHeaderTimeout: 30 * time.Second}
	return server.ListenAndServe()
}

// record is idempotent: the shop may repeat it for one run without making two of it.
func (l *ledger) record(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	order := r.PathValue("order")
	if l.runs[order] == nil {
		l.runs[order] = map[string]bool{}
	}
	l.runs[order][r.PathValue("run")] = true
	w.WriteHeader(http.StatusNoContent)
}

// orders answers each order with the number of times it ran.
func (l *ledger) orders(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make(map[string]int, len(l.runs))
	for order, runs := range l.runs {
		counts[order] = len(runs)
	}
	write(w, http.StatusOK, counts)
}

func (l *ledger) lost(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	write(w, http.StatusOK, l.abandoned)
}

func (l *ledger) listen(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go l.hear(conn)
	}
}

func (l *ledger) hear(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		pod, id, _ := strings.Cut(lines.Text(), " ")
		l.mu.Lock()
		l.abandoned[id] = pod
		l.mu.Unlock()
	}
}

// book is a shop's way to its ledger. The nil book writes nothing.
type book struct {
	host   string
	client *http.Client
	words  net.Conn // open from the start, so that the last words need no handshake
}

func newBook(host string) *book {
	if host == "" {
		return nil
	}
	words, err := net.DialTimeout("tcp", net.JoinHostPort(host, "8081"), 10*time.Second)
	if err != nil {
		log.Fatalf("reach the ledger: %v", err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 100, IdleConnTimeout: time.Minute}
	return &book{host: host, words: words, client: &http.Client{Transport: transport, Timeout: 5 * time.Second}}
}

// record writes one run of an order and returns once the ledger has it. It repeats the same run
// when the ledger does not answer.
func (b *book) record(ctx context.Context, order string) error {
	if b == nil {
		return nil
	}
	url := fmt.Sprintf("http://%s/orders/%s/runs/%s", net.JoinHostPort(b.host, "8080"), order, rand.Text())
	var failed error
	for range 3 {
		if failed = b.put(ctx, url); failed == nil {
			return nil
		}
	}
	return fmt.Errorf("write order %s into the ledger: %w", order, failed)
}

func (b *book) put(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, nil)
	if err != nil {
		return err
	}
	response, err := b.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return errors.New(response.Status)
	}
	return nil
}

// lastWords names requests that will never be answered, to the ledger and on standard output.
func (b *book) lastWords(pod string, ids []string) {
	var lines strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&lines, "%s %s\n", pod, id)
	}
	if b != nil && len(ids) > 0 {
		_, _ = b.words.Write([]byte(lines.String())) // nobody is left to tell
	}
	fmt.Printf("exit with %d requests accepted and not answered\n%s", len(ids), lines.String())
}
