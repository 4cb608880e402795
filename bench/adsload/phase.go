package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	counted  counter
	awaited  atomic.Pointer[marker]
	ready    atomic.Int64 // streams whose every subscription had an answer
	failures atomic.Int64 // streams that broke
)

// counter is what arrived on all streams.
type counter struct {
	mu                              sync.Mutex
	bytes, msgs, resources, removed int64
	last                            int64 // Unix ns
}

func (c *counter) add(now int64, bytes, resources, removed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes, c.msgs, c.last = c.bytes+int64(bytes), c.msgs+1, now
	c.resources, c.removed = c.resources+int64(resources), c.removed+int64(removed)
}

func (c *counter) lastArrival() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// take moves what was counted into a phase.
func (c *counter) take(p *phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.Bytes, p.Msgs, p.Resources, p.Removed = c.bytes, c.msgs, c.resources, c.removed
	c.bytes, c.msgs, c.resources, c.removed = 0, 0, 0, 0
}

// marker is the change that the streams look for.
type marker struct {
	text []byte
	typ  string
	seq  int64
	mu   sync.Mutex
	at   []int64 // arrivals, Unix ns
}

func (m *marker) arrived(now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = append(m.at, now)
}

func (m *marker) arrivals() []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(slices.Values(m.at))
}

// phase is one measurement: all streams connecting, or one change.
type phase struct {
	Phase      string  `json:"phase"` // connect, warmup or change
	N          int     `json:"n"`
	Hits       int     `json:"hits"`
	FirstMs    float64 `json:"first_ms"`
	P50Ms      float64 `json:"p50_ms"`
	LastMs     float64 `json:"last_ms"`
	Bytes      int64   `json:"bytes"`
	Msgs       int64   `json:"msgs"`
	Resources  int64   `json:"resources"`
	Removed    int64   `json:"removed"`
	ServerCPU  float64 `json:"server_cpu_s"`
	ClientCPU  float64 `json:"client_cpu_s"`
	OtherCores float64 `json:"other_cores"` // busy with neither
	ServerMB   float64 `json:"server_rss_mb"`
}

func (p *phase) finish(before cpuSample) {
	counted.take(p)
	p.N, p.ServerMB = *streams, rssMB(*pid)
	p.ServerCPU, p.ClientCPU, p.OtherCores = before.diff(sample(*pid))
	body, err := json.Marshal(p)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(body))
	if *out == "" {
		return
	}
	f, err := os.OpenFile(*out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(append(body, '\n')); err != nil {
		log.Fatal(err)
	}
}

// quiet waits until the condition holds and nothing came for the settling time.
func quiet(since int64, holds func() bool) {
	for end := time.Now().Add(*timeout); ; time.Sleep(5 * time.Millisecond) {
		last := max(since, counted.lastArrival())
		if time.Now().UnixNano()-last > int64(*settle) && holds() {
			return
		}
		if time.Now().After(end) {
			log.Fatalf("the phase did not end in %v", *timeout)
		}
	}
}

// measureConnect opens the streams and reports how long it took until all are complete.
func measureConnect(open func()) {
	begun, before := time.Now().UnixNano(), sample(*pid)
	go open()
	quiet(begun, func() bool { return ready.Load() == int64(*streams) })
	p := phase{Phase: "connect", Hits: int(ready.Load()), LastMs: float64(counted.lastArrival()-begun) / 1e6}
	p.finish(before)
}

func measureChanges() {
	first := int(time.Now().Unix()/2) % 60000 // so that a marker is never one that the server has already
	for k := range *warm + *iters {
		measureChange(first+k, k < *warm)
	}
	if n := failures.Load(); n > 0 {
		log.Fatalf("%d streams broke", n)
	}
}

func measureChange(n int, warmup bool) {
	m := &marker{text: []byte(expandChange(*markerText, n)), typ: *markerType, seq: int64(n)}
	runtime.GC()
	awaited.Store(m)
	want := *expect
	if want < 0 {
		want = *streams
	}
	before := sample(*pid)
	begun := pull(n)
	quiet(begun, func() bool { return len(m.arrivals()) >= want })
	at := m.arrivals()
	p := phase{Phase: "change", Hits: len(at)}
	if warmup {
		p.Phase = "warmup"
	}
	if len(at) > 0 {
		ms := func(i int) float64 { return float64(at[i]-begun) / 1e6 }
		p.FirstMs, p.P50Ms, p.LastMs = ms(0), ms(len(at)/2), ms(len(at)-1)
	}
	p.finish(before)
}

// pull triggers a change and returns when it began.
func pull(n int) int64 {
	begun := time.Now().UnixNano()
	resp, err := http.Post(expandChange(*trigger, n), "text/plain", nil)
	if err != nil {
		log.Fatalf("trigger: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		log.Fatalf("trigger: %s %s %v", resp.Status, body, err)
	}
	if at, err := strconv.ParseInt(strings.TrimSpace(string(body)), 10, 64); err == nil && at > 1e18 {
		return at
	}
	return begun
}
