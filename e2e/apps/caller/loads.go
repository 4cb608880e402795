package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"

	"github.com/weft-mesh/weft/e2e/load"
)

// order asks for a load.
type order struct {
	Target load.Target `json:"target"`
	Rate   int         `json:"rate"` // requests per second
}

// loads are those that the caller holds.
type loads struct {
	mu  sync.Mutex
	all []*load.Load
}

func (l *loads) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /start", l.start)
	mux.HandleFunc("POST /step", l.step)
	mux.HandleFunc("GET /sent", l.sent)
	mux.HandleFunc("POST /stop", l.stop)
	return mux
}

func (l *loads) start(w http.ResponseWriter, r *http.Request) {
	var asked order
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Rate < 1 || asked.Target.Address == "" {
		http.Error(w, "a target's address and a rate of at least 1 are needed", http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, load.Start(asked.Target, asked.Rate))
}

func (l *loads) step(_ http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.all {
		one.Step(r.FormValue("name"))
	}
}

func (l *loads) sent(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, one := range l.all {
		n += one.Sent()
	}
	_ = json.NewEncoder(w).Encode(n) // whoever asked has gone
}

func (l *loads) stop(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	results := []load.Result{}
	for _, one := range l.all {
		results = slices.Concat(results, one.Stop())
	}
	l.all = nil
	_ = json.NewEncoder(w).Encode(results) // whoever asked has gone
}
