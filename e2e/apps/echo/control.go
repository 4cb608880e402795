package main

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// seen is what a port has seen.
type seen struct {
	On          bool  `json:"on"`
	Connections int64 `json:"connections"`
	Bytes       int64 `json:"bytes"` // read by the application
}

// control turns ports on and off and tells about them.
func (a *application) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /ports/{port}/{state}", a.turn)
	mux.HandleFunc("GET /healthy", a.healthy)
	mux.HandleFunc("GET /status", a.status)
	mux.HandleFunc("GET /asked", a.asked)
	return mux
}

func (a *application) asked(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, _ = fmt.Fprint(w, a.requests[r.FormValue("path")]) // the client has gone
}

func (a *application) find(name string) *port {
	for _, p := range a.ports {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (a *application) turn(w http.ResponseWriter, r *http.Request) {
	p := a.find(r.PathValue("port"))
	if p == nil {
		http.Error(w, "there is no such port", http.StatusNotFound)
		return
	}
	if err := p.turn(r.PathValue("state") == "on"); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (a *application) healthy(w http.ResponseWriter, _ *http.Request) {
	if a.draining.Load() || !a.find("exec").isOn() {
		http.Error(w, "not healthy", http.StatusServiceUnavailable)
	}
}

func (a *application) status(w http.ResponseWriter, _ *http.Request) {
	all := map[string]seen{}
	for _, p := range a.ports {
		all[p.name] = seen{On: p.isOn(), Connections: p.connections.Load(), Bytes: p.bytes.Load()}
	}
	_ = json.NewEncoder(w).Encode(all) // the client has gone
}
