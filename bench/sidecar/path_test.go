package sidecar

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/load"
)

// round is that many requests, each a millisecond longer than the one before, begun a second late.
func round(n int, step string) (results []load.Result) {
	for i := range n {
		results = append(results, load.Result{Step: step, Late: time.Second, Took: time.Second + time.Duration(i+1)*time.Millisecond})
	}
	return results
}

func TestARoundIsOneSampleOfEachKind(t *testing.T) {
	p := &path{envoys: []int{1, 2}}
	results := append(round(101, measured), round(50, "start")...)
	results = append(results, load.Result{Step: measured, Failed: "status 503"})
	if err := p.add(results, 0.0202, 130); err != nil {
		t.Fatal(err)
	}
	if p.latency[0][0] != 51 || p.latency[1][0] != 91 || p.latency[2][0] != 100 {
		t.Errorf("p50, p90, p99 are %v", p.latency)
	}
	if got := p.cpu[0]; got < 199.9 || got > 200.1 {
		t.Errorf("%g µs for one request, want 200", got)
	}
	if p.memory[0] != 65 || p.failed != 1 {
		t.Errorf("memory %v, failed %v", p.memory, p.failed)
	}
	if err := p.add(nil, 0, 0); err == nil {
		t.Error("a round without an answer is a sample")
	}
}

func TestPathsAreComparedWithTheFirst(t *testing.T) {
	direct, one := &path{name: "direct"}, &path{name: "one", envoys: []int{1}}
	if err := direct.add(round(101, measured), 0, 0); err != nil {
		t.Fatal(err)
	}
	slower := round(101, measured)
	for i := range slower {
		slower[i].Took += 2 * time.Millisecond
	}
	if err := one.add(slower, 1, 1); err != nil {
		t.Fatal(err)
	}
	for _, f := range figures(1000, []*path{direct, one}) {
		if strings.HasPrefix(f.Name, "one") && f.Unit == "ms" && f.Beside[0] != "+2.00 ms to a direct connection, same run" {
			t.Errorf("%s: %v", f.Name, f.Beside)
		}
	}
}
