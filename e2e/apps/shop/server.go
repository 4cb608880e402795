package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"html/template"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

//go:embed storefront.html
var storefront string

var page = template.Must(template.New("storefront").Parse(storefront))

// shop serves the pages and takes the orders.
type shop struct {
	options
	pod      string
	book     *book
	draining atomic.Bool
	unready  atomic.Bool // by a signal; it serves on
}

// answer is the JSON that the shop gives for every request under /api and /orders.
type answer struct {
	App     string      `json:"app"`
	Version string      `json:"version"`
	Pod     string      `json:"pod"`
	Method  string      `json:"method"`
	Host    string      `json:"host"`
	Path    string      `json:"path"`
	ID      string      `json:"id,omitempty"`
	Headers http.Header `json:"headers,omitempty"`
}

// serve runs a shop until it is told to end; what it does then is options.onTerm.
func serve(o options) error {
	pod, _ := os.Hostname()
	s := &shop{options: o, pod: pod, book: newBook(o.ledger)}
	plain, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	seen := newWitness(plain)
	server := &http.Server{Handler: s.handler(), ConnState: seen.state, ReadHeaderTimeout: 30 * time.Second}
	go s.flap()
	go s.end(server, seen)
	if err := server.Serve(seen); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	select {} // end exits when it is done
}

func (s *shop) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", s.ready)
	mux.HandleFunc("GET /{$}", s.front)
	mux.HandleFunc("POST /orders", s.order)
	mux.HandleFunc("/", s.api)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		w.Header().Set(idHeader, r.Header.Get(idHeader))
		mux.ServeHTTP(w, r)
	})
}

func (s *shop) ready(w http.ResponseWriter, _ *http.Request) {
	if s.draining.Load() || s.unready.Load() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
	}
}

func (s *shop) front(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(s.status(http.StatusOK))
	_ = page.Execute(w, s.answer(r)) // the client has gone
}

func (s *shop) api(w http.ResponseWriter, r *http.Request) {
	a := s.answer(r)
	a.Headers = r.Header
	write(w, s.status(http.StatusOK), a)
}

// order writes the order into the ledger before it answers, so that an answered order is never lost
// and one that ran twice is always found.
func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(idHeader)
	if id == "" {
		http.Error(w, "header "+idHeader+" is missing: give each order an id", http.StatusBadRequest)
		return
	}
	time.Sleep(s.work)
	if err := s.book.record(context.WithoutCancel(r.Context()), id); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	write(w, s.status(http.StatusCreated), s.answer(r))
}

// status is that of an answer: the one wanted, unless the shop is broken.
func (s *shop) status(wanted int) int {
	if s.broken {
		return http.StatusInternalServerError
	}
	return wanted
}

func (s *shop) answer(r *http.Request) answer {
	return answer{App: "shop", Version: s.version, Pod: s.pod, Method: r.Method, Host: r.Host,
		Path: r.URL.RequestURI(), ID: r.Header.Get(idHeader)}
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}

// flap turns unready and ready again by signals.
func (s *shop) flap() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1, syscall.SIGUSR2)
	for sign := range told {
		s.unready.Store(sign == syscall.SIGUSR1)
	}
}

// end waits for SIGTERM. A draining shop turns unready, asks every client to close its connection,
// serves on while the rest of the cluster learns that it leaves, and finishes what it has begun.
// An exiting one names the requests that it had accepted and not answered, and is gone.
func (s *shop) end(server *http.Server, seen *witness) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	if s.onTerm == "exit" {
		s.book.lastWords(s.pod, seen.abandon())
		os.Exit(0)
	}
	s.draining.Store(true)
	time.Sleep(s.grace)
	_ = server.Shutdown(context.Background())
	os.Exit(0)
}
