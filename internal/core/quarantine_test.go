package core

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// host is one virtual host and a proxy that refuses it while it holds a bad route.
type host struct {
	routes  map[string]int64 // what users wrote
	bad     map[string]int64 // generations that the proxy refuses
	held    map[string]int64
	answers int
	*quarantine
}

func newHost(routes int, bad ...string) *host {
	h := &host{routes: map[string]int64{}, bad: map[string]int64{}, held: map[string]int64{}}
	h.quarantine = newQuarantine(
		func(route string, generation int64, _ refusal) { h.held[route] = generation },
		func(route string) { delete(h.held, route) })
	for i := range routes {
		h.routes[fmt.Sprintf("r%03d", i)] = 1
	}
	for _, b := range bad {
		h.bad[b] = h.routes[b]
	}
	return h
}

// settle renders and lets the proxy answer until nothing changes.
func (h *host) settle(t *testing.T) {
	last := ""
	for {
		from := maps.Clone(h.routes)
		maps.DeleteFunc(from, func(r string, g int64) bool { return h.held[r] == g })
		version := fmt.Sprint(slices.Sorted(maps.Keys(from)), from)
		if version == last {
			return
		}
		last = version
		h.rendered("v", rendered{resource: resource(version), from: from, scope: "s"}, true)
		if h.answers++; h.answers > 200 {
			t.Fatal("it does not settle")
		}
		if h.refuses(from) {
			h.refused("v", version, refusal{"shop/edge-1", "too complex"})
			last = ""
			continue
		}
		h.accepted("s", func(string) (string, bool) { return version, true })
	}
}

func (h *host) refuses(from map[string]int64) bool {
	for r, g := range h.bad {
		if from[r] == g {
			return true
		}
	}
	return false
}

// A proxy that was never told anything refuses a host of 100 routes: only the bad ones end outside.
func TestQuarantineFindsTheBadAmongMany(t *testing.T) {
	h := newHost(100, "r007", "r063")
	h.settle(t)
	if got := slices.Sorted(maps.Keys(h.held)); !slices.Equal(got, []string{"r007", "r063"}) {
		t.Fatalf("held %v after %d answers", got, h.answers)
	}
}

// A route added to a host that was accepted is the only suspect: one refusal is enough.
func TestQuarantineSuspectsWhatIsNew(t *testing.T) {
	h := newHost(100)
	h.settle(t)
	before := h.answers
	h.routes["new"], h.bad["new"] = 1, 1
	h.settle(t)
	if len(h.held) != 1 || h.held["new"] != 1 || h.answers-before > 3 {
		t.Fatalf("held %v after %d answers", h.held, h.answers-before)
	}
}

// The next generation of a refused route is tried anew.
func TestQuarantineEndsWithTheGeneration(t *testing.T) {
	h := newHost(3, "r001")
	h.settle(t)
	h.routes["r001"] = 2
	h.settle(t)
	if h.held["r001"] == 2 || h.refuses(h.routes) {
		t.Fatalf("held %v", h.held)
	}
}

func resource(version string) *discovery.Resource { return &discovery.Resource{Version: version} }
