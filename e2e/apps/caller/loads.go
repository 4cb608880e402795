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
	mu    sync.Mutex
	all   []*load.Load
	ended []load.Result // of those that were stopped since the first of them began
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
	if len(l.all) == 0 {
		l.ended = nil
	}
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

// stop tells what it told the time before if nothing was started since: an answer may get lost on its way.
func (l *loads) stop(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.all {
		l.ended = slices.Concat(l.ended, one.Stop())
	}
	l.all = nil
	_ = json.NewEncoder(w).Encode(l.ended) // whoever asked has gone
}
